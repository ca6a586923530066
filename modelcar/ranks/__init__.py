"""What one rank of a parallel deployment needs of a model: which tensors, which slices of them, which bytes. Pure."""

from modelcar.ranks.plan import FilePlan, RankPlan, plan_rank
from modelcar.ranks.slices import TensorPart
from modelcar.ranks.topology import Place, Topology
from modelcar.ranks.union import merge_plans

__all__ = ["FilePlan", "Place", "RankPlan", "TensorPart", "Topology", "merge_plans", "plan_rank"]
