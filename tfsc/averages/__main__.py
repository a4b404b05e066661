"""List the averages of weights, with parameters, or show a text with all of them.

python -m tfsc.averages
python -m tfsc.averages --show='ema(0.999)'
"""

from tfsc.averages.catalog import AVERAGES
from tfsc.command_line import families

if __name__ == "__main__":
    families.run(AVERAGES)
