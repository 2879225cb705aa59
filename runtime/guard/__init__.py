"""The guard: which frames are defended, and what is given up so that a packet keeps its budget.

    first pass --alarm--> ordinary: send as it is
                          attacked, or shortly after: defend
                          corrupted (snow, noise, a codec): look again, by the adapted head
    over budget?          defend, unless the frame is ordinary and no larger than clean ones are  >
                          coarser steps, then rate control, with z or with z all zero  >  all zero

``Guard`` says what is wanted, ``Decision`` what was done with one frame and why.
"""

from runtime.guard.decision import Guard
from runtime.guard.defence import Defence

__all__ = ["Defence", "Guard"]
