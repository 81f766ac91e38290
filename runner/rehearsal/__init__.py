"""Stand-in weights: tiny models of genuine architectures, under the file names a workflow asks for.

`plan` (pure) says which files a prompt needs, `ensure` makes those that are missing.
"""

from runner.rehearsal.family import StandIn
from runner.rehearsal.plan import plan
from runner.rehearsal.store import ensure

__all__ = ["StandIn", "ensure", "plan"]
