"""The recipe's settings as absl flags."""

import dataclasses
from typing import Any

from absl import flags

from tfsc.recipe import Recipe, settings
from tfsc.recipe.setting import Setting


class _SettingParser(flags.ArgumentParser):
    """Lets absl read a flag by the rule of its `Setting`."""

    def __init__(self, setting: Setting):
        super().__init__()
        self._setting = setting
        self.syntactic_help = setting.rule

    def parse(self, argument: Any) -> Any:
        if isinstance(argument, str):
            return self._setting.parse(argument)
        return self._setting.check(argument)

    def flag_type(self) -> str:
        return self._setting.kind.__name__


class _SettingSerializer(flags.ArgumentSerializer):
    def __init__(self, setting: Setting):
        super().__init__()
        self._setting = setting

    def serialize(self, value: Any) -> str:
        return self._setting.text(value)


def define_flags(
    module: str,
    names: tuple[str, ...] | None = None,
    flag_values: flags.FlagValues = flags.FLAGS,
    unset: bool = False,
) -> None:
    """Define absl flags from the recipe's fields.

    Args:
        module: name under which `--help` lists them; a command passes `sys.argv[0]`.
        names: which fields; default all.
        flag_values: where to define them.
        unset: give them no default, so that a command can tell what was typed.
    """
    for field in dataclasses.fields(Recipe):
        if names is None or field.name in names:
            default = None if unset else field.default
            define_flag(field.name, settings()[field.name], default, module, flag_values)


def define_flag(
    name: str,
    setting: Setting,
    default: Any,
    module: str,
    flag_values: flags.FlagValues = flags.FLAGS,
) -> None:
    """Define one absl flag that is read by the rule of its `Setting`.

    Args:
        name: of the flag.
        setting: its help and rule.
        default: None: it has no value unless it is typed.
        module, flag_values: as in `define_flags`.
    """
    if setting.kind is bool:
        flag: flags.Flag = flags.BooleanFlag(name, default, setting.help)
        flag.parser = _SettingParser(setting)
    else:
        parser, serializer = _SettingParser(setting), _SettingSerializer(setting)
        flag = flags.Flag(parser, serializer, name, default, setting.help)
    flags.DEFINE_flag(flag, flag_values, module_name=module)
    flag_values.register_key_flag_for_module(module, flag)
