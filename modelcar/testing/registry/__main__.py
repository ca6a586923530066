"""python -m modelcar.testing.registry --profile ghcr --faults-per-gib 20 --seed 7"""

import sys

from modelcar.testing.registry.program import serve

try:
    serve(sys.argv[1:])
except KeyboardInterrupt:
    sys.exit(0)
