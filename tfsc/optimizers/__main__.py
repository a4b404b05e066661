"""List the optimizers and kinds of clipping with their parameters, or show one with all of them.

python -m tfsc.optimizers
python -m tfsc.optimizers --show='muon(0.6, rest=sgd(0.85))'
"""

from tfsc.command_line import families
from tfsc.optimizers.catalog import CLIPS, OPTIMIZERS
from tfsc.text.listing import listing

if __name__ == "__main__":
    families.run(OPTIMIZERS, more=lambda: f"--clip:\n\n{listing(CLIPS)}")
