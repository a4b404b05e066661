"""List the losses, with parameters, or show a text with all of them.

python -m tfsc.losses
python -m tfsc.losses --show='cross_entropy(0.2)'
"""

from tfsc.command_line import families
from tfsc.losses.catalog import LOSSES

if __name__ == "__main__":
    families.run(LOSSES)
