"""Who pays a loss: layers in order, groups at once, each under its own mode, cap and condition; whole quanta."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from riskpolicy.numbers import fraction_text
from riskpolicy.plan.plan import Layer


@dataclass(frozen=True, slots=True)
class Drawn:
    """What one layer paid, in quanta, and why no more; 0 where it was passed over."""

    layer: Layer
    amount: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Loss:
    """Whose loss is paid, and in which market: that of the largest position at the start, for the caps of markets."""

    account: str = ""
    market: str = ""


_NOBODY = Loss()


@dataclass
class Payers:
    """What funds have and what layers have paid so far, in quanta of one currency each.

    `balance` is by fund, None where it is not known; `opening` what it was at the start. `paid` is by the layer's rule
    alone, and by the rule with an account or market: what caps count. A cap of a group is counted by its name.
    """

    balance: list[int | None]
    opening: list[int | None]
    paid: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def room(self, layer: Layer, left: int, quantum: Fraction, loss: Loss) -> int:
        """Return the most that a fund's layer can pay, by its balance, caps and mode; `left` is what is due."""
        return self.limit(layer, left, quantum, loss)[0]

    def limit(self, layer: Layer, left: int, quantum: Fraction, loss: Loss) -> tuple[int, str]:
        """Return the same, and what sets it, as words with money in it."""
        has = self.balance[layer.fund]
        if has is None or has <= 0:
            return 0, "the fund is empty" if has is not None else "nobody says what the fund has"
        bounds = [(has, "all that the fund has")]
        if layer.draw == "leave_unit":
            bounds.append((has - 1, "all that the fund has but one quantum"))
        for cap, key, words in (
            (layer.cap, ("", ""), "its cap"),
            (None if layer.cap_share is None else layer.cap_share * (self.opening[layer.fund] or 0) * quantum,
             ("", ""), "its share of the balance at the start"),
            (layer.per_account, ("account", loss.account), "its cap for an account"),
            (layer.per_market, ("market", loss.market), f"its cap for {loss.market}"),
        ):  # fmt: skip
            if cap is not None:
                paid = self.paid.get((layer.id, *key), 0)
                before = f", {_money(paid, quantum)} of which is paid" if paid else ""
                bounds.append((int(cap / quantum) - paid, f"{words} of {fraction_text(cap)}{before}"))
        most, words = min(bounds, key=lambda bound: bound[0])
        if layer.draw == "all_or_nothing" and most < left:
            return 0, f"it pays all or nothing, and {words} is less than {_money(left, quantum)}"
        return max(0, most), words

    def pay(self, layer: Layer, amount: int, loss: Loss) -> None:
        """Take an amount out of a layer's fund."""
        has = self.balance[layer.fund]
        assert has is not None
        assert amount <= has
        self.balance[layer.fund] = has - amount
        self.count(layer, amount, loss)

    def count(self, layer: Layer, amount: int, loss: Loss) -> None:
        """Count an amount against a layer's caps."""
        keys = [(layer.id, "", ""), (layer.id, "account", loss.account), (layer.id, "market", loss.market)]
        if layer.group is not None:
            keys.append(("", "group", layer.group))
        for key in keys:
            self.paid[key] = self.paid.get(key, 0) + amount

    def group_room(self, members: Sequence[Layer], quantum: Fraction) -> int | None:
        """Return the most that a group's layers can pay together, None without a cap."""
        cap = next((m.group_cap for m in members if m.group_cap is not None), None)
        if cap is None:
            return None
        return max(0, int(cap / quantum) - self.paid.get(("", "group", members[0].group or ""), 0))


def draw(
    layers: Sequence[Layer],
    deficit: int,
    payers: Payers,
    quantum: Fraction,
    of_currency: Callable[[int], bool],
    opened: Callable[[Layer], bool],
    loss: Loss = _NOBODY,
    reach: Callable[[Layer], int | None] = lambda _: None,
) -> list[Drawn]:
    """Return who pays a deficit of whole quanta, passed layers with 0; what nobody pays is the residual layer's.

    Socialization pays what it can `reach`, None for all that is left.

    A layer pays nothing while an earlier one could pay more, under that one's own mode, cap and condition. Layers of a
    group pay in proportion to what each could; a rest of less than one quantum each goes to the first ones. The
    defaulter's and the deleveraging layer pay nothing here: they have paid before money is asked for.
    """
    out: list[Drawn] = []
    left, i = deficit, 0
    while i < len(layers) and left > 0:
        layer = layers[i]
        end = i + 1
        while layer.group is not None and end < len(layers) and layers[end].group == layer.group:
            end += 1
        members = layers[i:end]
        i = end
        if layer.pays == "residual":
            out.append(Drawn(layer, left, "all that is left"))
            return out
        if layer.pays == "socialization":
            most = reach(layer) if opened(layer) else 0
            paid = left if most is None else min(left, most)
            words = (
                "all that is left" if paid == left else "all the profit that is there" if paid else "nobody is there"
            )
            out.append(Drawn(layer, paid, words if opened(layer) else "its condition does not hold"))
            left -= paid
            continue
        funds = [m for m in members if m.pays == "fund" and of_currency(m.fund)]
        other = "its fund holds another currency"
        out += [Drawn(m, 0, other) for m in members if m.pays == "fund" and not of_currency(m.fund)]
        out += [Drawn(m, 0, "its condition does not hold") for m in funds if not opened(m)]
        funds = [m for m in funds if opened(m)]
        limits = [payers.limit(m, left, quantum, loss) for m in funds]
        rooms = [room for room, _ in limits]
        together = payers.group_room(members, quantum)
        most = min(left, sum(rooms) if together is None else min(together, sum(rooms)))
        before = left
        for member, amount, (room, words) in zip(funds, shares(rooms, most), limits, strict=True):
            if amount:
                payers.pay(member, amount, loss)
            left -= amount
            if amount == before:
                words = f"all of the {_money(before, quantum)} that is due"
            elif amount < room:
                words = f"in proportion to what its group can pay, {_money(sum(rooms), quantum)}"
                words += "" if together is None or together > sum(rooms) else ", within the group's cap"
            out.append(Drawn(member, amount, words))
    return out


def _money(quanta: int, quantum: Fraction) -> str:
    return fraction_text(quanta * quantum)


def shares(rooms: Sequence[int], amount: int) -> list[int]:
    """Split an amount in proportion to rooms, none beyond its own; the rest goes one by one to the first with room."""
    total = sum(rooms)
    if total == 0:
        return [0] * len(rooms)
    parts = [amount * room // total for room in rooms]
    left = amount - sum(parts)
    while left > 0:
        for k, room in enumerate(rooms):
            more = min(left, room - parts[k], 1)
            parts[k] += more
            left -= more
    return parts


def equal_parts(rooms: Sequence[int], amount: int) -> list[int]:
    """Split an amount into equal parts, none beyond its room; who is full drops out, until nothing or nobody is left.

    What does not divide goes one by one to the first of those who have room.
    """
    parts = [0] * len(rooms)
    left = amount
    while left > 0:
        able = [k for k, room in enumerate(rooms) if parts[k] < room]
        if not able:
            break
        share, odd = divmod(left, len(able))
        for place, k in enumerate(able):
            # Single ones are given out only when no whole round is left.
            more = min(rooms[k] - parts[k], share if share else int(place < odd))
            parts[k] += more
            left -= more
    return parts
