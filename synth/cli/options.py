"""Options that several commands read alike."""

import click


def shard(ctx, param, value: str) -> tuple[int, int]:
    """`i/m` as two numbers; a click callback."""
    try:
        i, m = (int(part) for part in value.split("/"))
    except ValueError:
        raise click.BadParameter(f"expected i/m such as 0/8, found {value!r}.") from None
    if not 0 <= i < m:
        raise click.BadParameter(f"expected i/m with 0 <= i < m, found {value!r}.")
    return i, m
