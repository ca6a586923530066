"""The processes before the kernel: a supervisor that holds what the kernel gave us, and workers that serve it.

```text
launch.start_mount ─▶ opener ──exec──▶ supervisor ──starts again──▶ worker
                        └──fork──▶ first worker
```

Nothing is imported here: the supervisor and the workers start fast.
"""
