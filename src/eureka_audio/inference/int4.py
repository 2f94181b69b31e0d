"""Weights in 4 bits: each group of a row's weights has 16 steps of its own.

The products are torch's own, of rows in bfloat16; sums are in float32.
"""

import torch
from torch import Tensor, nn

GROUP_SIZE = 32  # weights, which share a scale and a middle in bfloat16: 5 bits each
NUM_STEPS = 16
COLUMNS = 16  # torch's products want a multiple of so many outputs


class Int4Linear(nn.Module):
    """A linear map whose weights `(out, in)` have 4 bits.

    Args:
        linear: one that `fits`.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self._bias = None if linear.bias is None else linear.bias.detach().float()
        groups_OGS = linear.weight.detach().float().unflatten(1, (-1, GROUP_SIZE))
        lowest_OG, highest_OG = groups_OGS.aminmax(dim=-1)
        scales_OG = ((highest_OG - lowest_OG) / (NUM_STEPS - 1)).bfloat16()
        scales_OG = scales_OG.clamp(min=torch.finfo(torch.bfloat16).tiny)
        middles_OG = (
            lowest_OG + NUM_STEPS // 2 * scales_OG
        ).bfloat16()  # of what step 8 stands for
        # Rounded with the scales as they are kept, not as they were computed.
        steps_OGS = (groups_OGS - middles_OG[..., None]) / scales_OG[..., None] + NUM_STEPS // 2
        steps_OI = steps_OGS.round().clamp(0, NUM_STEPS - 1).int().flatten(1)
        self._packed = torch._convert_weight_to_int4pack_for_cpu(steps_OI, 1)
        self._scales = torch.stack([scales_OG.T, middles_OG.T], dim=-1).contiguous()

    def forward(self, rows: Tensor) -> Tensor:
        """Rows `(..., in)` to `(..., out)`."""
        flat = rows.flatten(0, -2).bfloat16()
        product = torch._weight_int4pack_mm_for_cpu(flat, self._packed, GROUP_SIZE, self._scales)
        product = product.to(rows.dtype).unflatten(0, rows.shape[:-1])
        return product if self._bias is None else product + self._bias


def fits(linear: nn.Linear) -> bool:
    """Whether its weights come in whole groups."""
    return linear.in_features % GROUP_SIZE == 0 and linear.out_features % COLUMNS == 0
