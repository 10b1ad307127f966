"""What tokens cost: prices per million of them, and the money that a count of tokens comes to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from factory.records import Count
from factory.settings import Operation, operation_from

MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Of a million tokens, in `currency`; all 0 where nobody said."""

    tokens_in: float = 0.0
    tokens_cached: float = 0.0
    tokens_out: float = 0.0
    currency: str = "USD"

    @staticmethod
    def of(operation: Operation) -> "Prices":
        cached = operation.price_cached if operation.price_cached >= 0 else operation.price_in
        return Prices(
            tokens_in=operation.price_in,
            tokens_cached=cached,
            tokens_out=operation.price_out,
            currency=operation.currency,
        )

    @staticmethod
    def of_values(values: Mapping[str, Any]) -> "Prices":
        """From the line that a start wrote down, which may be older than a setting."""
        names = ("price_in", "price_cached", "price_out", "currency")
        return Prices.of(operation_from({name: values[name] for name in names if name in values}))

    @property
    def known(self) -> bool:
        return self.tokens_in > 0 or self.tokens_out > 0

    def money(self, tokens_in: float, tokens_out: float, tokens_cached: float = 0.0) -> float:
        """`tokens_cached` are those of `tokens_in` that were cheaper."""
        cached = min(tokens_cached, tokens_in)
        dear = (tokens_in - cached) * self.tokens_in + tokens_out * self.tokens_out
        return (dear + cached * self.tokens_cached) / MILLION

    def of_count(self, count: Count) -> float:
        return self.money(count.tokens_in, count.tokens_out, count.tokens_cached)

    def shown(self, money: float) -> str:
        """'12.30 USD', '0.0123 USD', '0.000123 USD'."""
        amount = f"{money:,.2f}" if money >= 1 or money == 0 else f"{money:.4f}" if money >= 0.01 else f"{money:.6f}"
        return f"{amount} {self.currency}"
