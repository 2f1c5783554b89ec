"""`python -m inferencefleet.cli`."""

from inferencefleet.cli.app import main

main()
