"""Writers of file formats that write what they are told, right or wrong.

They share no code with the scanner's readers: a mistake that both had in common would go unseen.
"""
