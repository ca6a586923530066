"""Small programs that are run as processes of their own. The two that
are timed without their start-up print, last, how many seconds their work took."""
