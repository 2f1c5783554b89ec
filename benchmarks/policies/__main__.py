import sys

from benchmarks.policies.run import main

if __name__ == "__main__":
    sys.exit(main())
