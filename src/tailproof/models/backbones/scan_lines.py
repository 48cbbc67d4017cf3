"""Transformers over scan lines, in timm's registry: every line of a window is one token.

`scanline_vit` attends to the whole window. `scanline_causal` attends only to earlier lines, so it
can process the output of an instrument line by line: `Stream` caches keys and values of earlier
lines. Both classify the last line.
"""

from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention

FLAT = 1e-6  # a line with a lower variance is centred but not scaled

Cache = tuple[Tensor, Tensor]


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017), optionally causal."""

    def __init__(self, dim: int, heads: int, causal: bool, drop: float) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """Return the attended tokens [N, T, dim], and the keys and values of all tokens so far.

        Args:
            x: T tokens; a single one if there is a cache.
            cache: keys and values of the earlier tokens.
        """
        samples, tokens, dim = x.shape
        split = self.qkv(x).view(samples, tokens, 3, self.heads, dim // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        if cache is not None:
            key, value = torch.cat([cache[0], key], 2), torch.cat([cache[1], value], 2)
        attended = F.scaled_dot_product_attention(
            query, key, value, is_causal=self.causal and cache is None
        )
        return self.drop(self.proj(attended.transpose(1, 2).reshape(x.shape))), (key, value)


class TransformerBlock(nn.Module):
    """Attention and a two-layer perceptron, each with pre-norm and a residual connection."""

    def __init__(self, dim: int, heads: int, causal: bool, drop: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, causal, drop)
        self.mlp = nn.Sequential(
            nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim), nn.Dropout(drop)
        )

    def forward(self, x: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """Return tokens [N, T, dim] and the keys and values of all tokens so far."""
        attended, cache = self.attention(self.norm1(x), cache)
        x = x + attended
        return x + self.mlp(self.norm2(x)), cache


class LineEmbedding(nn.Module):
    """Embeds a line of fixed length with one linear map."""

    def __init__(self, channels: int, width: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels * width, dim)

    def forward(self, lines: Tensor) -> Tensor:
        """Return [M, dim] of lines [M, channels, W]."""
        return self.proj(lines.flatten(1))


class LineTokeniser(nn.Sequential):
    """Embeds a line of any length with a small convolutional network."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__(
            nn.Conv1d(channels, 32, 7, stride=2, padding=3),
            nn.GELU(),
            nn.Conv1d(32, 64, 5, stride=2, padding=2),
            nn.GELU(),
            nn.Conv1d(64, dim, 3, stride=2, padding=1),
            nn.GELU(),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
        )


class ScanLineTransformer(nn.Module):
    """Classifies the last line of a window of lines.

    Args:
        causal: whether a line attends only to earlier lines. The causal mask then encodes the
            order; otherwise positions are learnt.
        num_classes: number of outputs; 0 removes the head.
        in_chans: number of channels of a line.
        img_size: number of lines per window and pixels per line.
        dim: dimension of a token.
        depth: number of blocks.
        num_heads: number of attention heads per block.
        drop_rate: dropout after attention and perceptron.
        normalize_lines: whether to normalize each line to mean 0 and standard deviation 1.
    """

    def __init__(
        self,
        *,
        causal: bool,
        num_classes: int = 4,
        in_chans: int = 1,
        img_size: tuple[int, int] = (16, 64),
        dim: int = 256,
        depth: int = 6,
        num_heads: int = 8,
        drop_rate: float = 0.0,
        normalize_lines: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = self.head_hidden_size = dim
        self.normalize_lines = normalize_lines
        self.lines, width = img_size
        self.tokenise: nn.Module = (
            LineTokeniser(in_chans, dim) if causal else LineEmbedding(in_chans, width, dim)
        )
        self.position = None if causal else nn.Parameter(torch.zeros(1, self.lines, dim))
        self.blocks = nn.ModuleList(
            TransformerBlock(dim, num_heads, causal, drop_rate) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)
        self.apply(_initialise)
        if self.position is not None:
            nn.init.trunc_normal_(self.position, std=0.02)
        self.reset_classifier(num_classes)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return how the names of the weights tell stem and blocks apart, as for timm's models."""
        blocks = [(r"^blocks\.(\d+)", None), (r"^norm\.", (99999,))]
        return {"stem": r"^(?:tokenise\.|position)", "blocks": blocks}

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the head by a new one with `num_classes` outputs; 0 removes it."""
        self.num_classes = num_classes
        self.head: nn.Module = (
            nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        )

    def get_classifier(self) -> nn.Module:
        """Return the head."""
        return self.head

    def tokens(self, x: Tensor) -> Tensor:
        """Return one token per line, [N, L, dim], of windows [N, channels, L, W]."""
        samples, channels, lines, width = x.shape
        flat = x.transpose(1, 2).reshape(samples * lines, channels, width)
        if self.normalize_lines:
            variance, mean = torch.var_mean(flat, 2, correction=0, keepdim=True)
            flat = (flat - mean) * torch.where(variance > FLAT, variance, 1.0).rsqrt()
        return self.tokenise(flat).view(samples, lines, -1)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the features of each line, [N, L, dim]."""
        tokens = self.tokens(x)
        if self.position is not None:
            tokens = tokens + self.position
        for block in self.blocks:
            tokens, _ = block(tokens)
        return self.norm(tokens)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return logits [N, C] for the last line, or with `pre_logits` its features [N, dim]."""
        return x[:, -1] if pre_logits else self.head(x[:, -1])

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [N, C] of windows [N, channels, L, W]."""
        return self.forward_head(self.forward_features(x))


class Stream:
    """Runs a causal model line by line, as an instrument delivers them.

    For the first `lines` lines, the output equals that of the model on all lines so far. After that
    each block attends to the last `lines` outputs of the block below: sliding-window attention
    (Beltagy et al. 2020, section 3.1). The cached outputs depend on lines before the window, so the
    result differs from the model on a cut-out window, except with a single block.

    Args:
        model: `scanline_causal`.
        lines: number of lines to cache. Default: the lines in the model's window.
    """

    def __init__(self, model: ScanLineTransformer, lines: int | None = None) -> None:
        self.model, self.lines = model.eval(), lines or model.lines
        self._caches: list[Cache | None] = [None] * len(model.blocks)

    @torch.inference_mode()
    def step(self, line: Tensor) -> Tensor:
        """Return logits [C] for the next line, [channels, W]."""
        token = self.model.tokens(line[None, :, None])
        for number, block in enumerate(self.model.blocks):
            token, (keys, values) = block(token, self._caches[number])
            kept = slice(-(self.lines - 1), None) if self.lines > 1 else slice(0, 0)
            self._caches[number] = keys[:, :, kept], values[:, :, kept]
        return self.model.forward_head(self.model.norm(token))[0]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def _config(fixed: bool) -> dict:
    return {
        "num_classes": 4,
        "input_size": (1, 16, 64),
        "first_conv": None,
        "classifier": "head",
        "fixed_input_size": fixed,
    }


default_cfgs = generate_default_cfgs(
    {"scanline_vit": _config(True), "scanline_causal": _config(False)}
)


@register_model
def scanline_vit(pretrained: bool = False, **options: Any) -> ScanLineTransformer:
    """Line encoder: 6 layers of dimension 256 with 8 heads; attends to the whole window."""
    return build_model_with_cfg(
        ScanLineTransformer, "scanline_vit", pretrained, causal=False, **options
    )


@register_model
def scanline_causal(pretrained: bool = False, **options: Any) -> ScanLineTransformer:
    """Causal encoder: convolutional line embedding; each line attends to earlier lines."""
    return build_model_with_cfg(
        ScanLineTransformer, "scanline_causal", pretrained, causal=True, **options
    )
