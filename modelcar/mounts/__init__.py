"""Models as folders before their bytes are here: what a mount shows, where its bytes come from, and two ways to the
kernel, FUSE and EROFS. See docs/decisions/0020-lazy-mounts.md."""
