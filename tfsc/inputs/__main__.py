"""List what can be done to images before a network, or show a text with all its arguments.

python -m tfsc.inputs
python -m tfsc.inputs --show='standardize whiten(5000)'
"""

from tfsc.command_line import families
from tfsc.inputs.catalog import INPUTS

if __name__ == "__main__":
    families.run(INPUTS, several=True)
