"""Every command that a page shows is run, from an installed wheel, in an empty home, in the order of the page.

Pages are README.md, the tutorial and the how-tos. What the tests need to know stands in comments, which no reader sees:

`<!-- run: registry=localhost:5000 checkpoint=model -->`
    once a page: what is there when its commands begin (see `stage.Needs`).
`<!-- setup: COMMANDS -->`
    commands that the page takes for granted, run where they stand.
`<!-- not run: REASON -->`
    before a block: its commands need what no test has.
`<!-- exit: 1 -->`
    before a block: the status of its last command; 0 otherwise.
`<!-- background -->`
    before a block: its last command goes on; what the block shows is waited for.
`<!-- file: PATH -->`
    before a block of any language: it is written there, for the commands that follow.
"""
