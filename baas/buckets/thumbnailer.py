"""Makes one thumbnail: `python -m baas.buckets.thumbnailer SIZE PIXELS_MAX`, an image on standard
input, WebP on standard output. Exit code 3: the image is refused.

A process of its own for each, since image decoders are large and read what strangers send: it has
little memory, little time, no files to write, and takes nothing with it when it falls.
"""

from __future__ import annotations

import contextlib
import io
import resource
import sys
import warnings

MEMORY_BYTES = 1024 * 1024 * 1024  # of address space, libraries included
SECONDS = 10
REFUSED = 3
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "AVIF", "BMP", "TIFF")


def main() -> int:
    size, pixels_max = int(sys.argv[1]), int(sys.argv[2])
    for kind, limit in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (limit, limit))
    # After the limits: what decoders are loaded counts.
    from PIL import Image, ImageOps

    warnings.simplefilter("error", Image.DecompressionBombWarning)
    Image.MAX_IMAGE_PIXELS = pixels_max
    try:
        with Image.open(io.BytesIO(sys.stdin.buffer.read()), formats=FORMATS) as image:
            if image.width * image.height > pixels_max:
                return REFUSED
            image.draft("RGB", (size, size))
            turned = ImageOps.exif_transpose(image)
            turned.thumbnail((size, size))
            mode = "RGBA" if "A" in turned.getbands() or "transparency" in turned.info else "RGB"
            made = io.BytesIO()
            # A new image carries no EXIF: no place, no camera, no owner.
            turned.convert(mode).save(made, "WEBP", quality=80, method=4)
    except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError, Warning):
        return REFUSED
    except Exception:
        return REFUSED
    sys.stdout.buffer.write(made.getvalue())
    return 0


if __name__ == "__main__":
    sys.exit(main())
