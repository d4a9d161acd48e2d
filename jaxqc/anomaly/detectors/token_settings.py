"""Settings of the transformers among the networks that rebuild."""

from dataclasses import dataclass

from jaxqc.errors import UserError
from jaxqc.fields import check_positive


@dataclass(frozen=True)
class TokensConfig:
    """A transformer over the cells of a map (UniAD, arXiv 2206.03687)."""

    dim: int = 256
    """Channels of a token, a multiple of `heads`."""
    heads: int = 8
    """Heads of attention."""
    layers: int = 4
    """Layers of the encoder, and as many of the decoder."""
    hidden: int = 1024
    """Units between a layer's two linear ones."""
    dropout: float = 0.1
    """Share of values that a step zeroes in each layer."""
    hide: int = 7
    """Side, an odd number, of the square of cells about each that it does not see; 0 = it sees all."""
    jitter: float = 20.0
    """Deviation of the noise that training adds to features, in lengths of a cell's vector over its channels."""

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        sizes = {name: getattr(self, name) for name in ("dim", "heads", "layers", "hidden")}
        check_positive(sizes, where)
        if self.dim % self.heads:
            raise UserError(f"{where}: dim={self.dim} is not a multiple of heads={self.heads}")
        if not 0 <= self.dropout < 1:
            raise UserError(f"{where}: dropout={self.dropout!r} is a share; give at least 0 and less than 1")
        if self.hide < 0 or (self.hide and self.hide % 2 == 0):
            raise UserError(f"{where}: hide={self.hide} must be odd, or 0")
        if self.jitter < 0:
            raise UserError(f"{where}: jitter={self.jitter!r} is a deviation; give at least 0")


TOKENS = TokensConfig()
"""As published."""
