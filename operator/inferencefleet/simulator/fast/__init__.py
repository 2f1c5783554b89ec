"""The engines of one fleet at a cost per request, not per token: a virtual decode clock for each replica.

Between two events of a replica (an admission, a prefill chunk, a finish, an exhausted KV cache) its batch is constant
and the tokens in its cache grow by the batch each step, so any number of steps takes a closed form. What happens at an
event follows `simulator.engine` rule for rule.
"""

from inferencefleet.simulator.fast.compiling import notice
from inferencefleet.simulator.fast.fleet import FastServers, servers

__all__ = ["FastServers", "notice", "servers"]
