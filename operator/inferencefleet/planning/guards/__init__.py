"""Step 5: the ordered chain of guards on the number of replicas. Each says what it did, with a code and a sentence."""

from inferencefleet.planning.guards.budget import affordable
from inferencefleet.planning.guards.chain import GUARDS, Guarded, run_guards
from inferencefleet.planning.guards.context import Guard, GuardContext
from inferencefleet.planning.guards.rates import remember_change

__all__ = ["GUARDS", "Guard", "GuardContext", "Guarded", "affordable", "remember_change", "run_guards"]
