"""What the parameters of one network must keep among each other, and equal networks' one text.

`NAME_fault` is the rule that a call of NAME breaks, or None; `NAME_shortest` the arguments that say
the same in fewer words. `tfsc.models.catalog` has what each parameter must keep alone.
"""

from tfsc.text.family import Call


def resnet_v2_shortest(call: Call) -> dict[str, object]:
    """One kernel size for all stacks, where they have the same."""
    sizes = call["shortcut"]
    return {"shortcut": sizes[:1]} if len({*sizes}) == 1 else {}


def resnet_v2_fault(call: Call) -> str | None:
    stacks, given = len(call["units"]), len(call["shortcut"])
    if given not in (1, stacks):
        return (
            f"shortcut of resnet_v2 must be one size or as many as units has stacks ({stacks}), "
            f"has {given}"
        )
    if call["preactivation"] == "none" and not call["preactivation_bn"]:
        return "preactivation_bn of resnet_v2 needs a preactivation: downsampling or all"
    return None


def resnet_rs_fault(call: Call) -> str | None:
    if call["se_reduction"] and call["se_ratio"] != call.kind.parameters["se_ratio"].default:
        return "se_ratio and se_reduction of resnet_rs say one thing: give one of them"
    return None


def resnet9_fault(call: Call) -> str | None:
    last, residual = len(call["widths"]) - 1, call["residual"]
    if not last:
        return "widths of resnet9 must be at least two, has 1"
    if max(residual) > last:
        return f"residual of resnet9 must name layers from 1 to {last}, has {max(residual)}"
    twice = [layer for layer in residual if residual.count(layer) > 1]
    return f"residual of resnet9 names layer {twice[0]} twice" if twice else None


def shake_shake_fault(call: Call) -> str | None:
    width = call["width"]
    return f"width of shake_shake must be even, received {width}" if width % 2 else None


def shake_shake_shortest(call: Call) -> dict[str, object]:
    """Where forward is even, keep is even, and nothing is drawn for anyone."""
    if call["forward"] == "even" and call["backward"] in ("even", "keep"):
        return {"backward": "even", "level": "image"}
    return {}


def airbench_fault(call: Call) -> str | None:
    if call["residual"] and call["depth"] < 2:
        return "residual of airbench needs a depth of at least 2, has 1"
    return None
