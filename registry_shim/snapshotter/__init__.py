"""containerd's snapshotter: weight layers appear as mounts at once, everything else as usual.

```text
service.py      the methods of containerd.services.snapshots.v1.Snapshots, over grpc.py, in messages.py's words
snapshotter.py  what each of them does
records.py      the snapshots there are: a database beside their folders
layers.py       the folders, and the mounts that make a root file system of them
hints.py        what containerd's labels say of a layer: which image it belongs to, and whether it may be lazy
images.py       the lazy layers of an image, mounted together; mounter.py says by whom
```
"""
