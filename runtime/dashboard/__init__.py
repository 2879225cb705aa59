"""A page that shows frames as they come: ``serve --dashboard`` and ``stream --dashboard PORT``.

    history    the last frames and the totals, bounded, as JSON
    pictures   arrays -> PNG
    hosts      which Host and Origin a listener on loopback answers
    page       page.html, page.css, page.js and the headers of every answer
    listener   a loopback HTTP listener of the standard library, for the device

``runtime.serving.dashboard`` and ``runtime.streaming.dashboard`` fill it. A server knows a frame's packet,
hence its likelihood map; a device knows the image, the mask and the denoised image besides.

The page only reads, loads nothing from other hosts, and writes every text as text, never as HTML.
"""
