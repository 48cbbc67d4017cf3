"""The commands of `tailproof`, by what they are about; `tailproof.cli` registers them."""
