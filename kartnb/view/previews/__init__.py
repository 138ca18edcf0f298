"""Previews of values by their type: as text and as HTML, bounded, escaped, and without a kernel."""

from __future__ import annotations

from kartnb.view.previews.preview import Preview, preview
from kartnb.view.previews.registry import register_preview, unregister_preview

__all__ = ['Preview', 'preview', 'register_preview', 'unregister_preview']
