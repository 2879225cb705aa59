"""A page that shows frames as they come: ``serve --dashboard`` and ``stream --dashboard PORT``.

    history    the last frames and the totals, bounded, as JSON
    pictures   arrays -> PNG, as the page shows them
    of_server  what a server knows of a frame: its packet, hence its likelihood map
    of_device  what a device knows besides: the image, the mask, the denoised image
    page       page.html, page.css, page.js, and the headers that keep them to themselves
    listener   a loopback HTTP listener of the standard library, for the device

The page only reads, takes nothing from any other place, and writes what it is told as text.
"""
