"""Files that hold images, or should, and are not read: by their endings, and by their first bytes for messages."""

ENDINGS = frozenset((
    ".heic", ".heif", ".hif", ".jxl", ".jxr", ".wdp", ".jls", ".qoi", ".ico", ".psd", ".exr", ".hdr", ".pcx",
    ".tga", ".pam", ".pfm", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".dcm", ".dicom",
    ".nii", ".nrrd", ".mhd", ".npy", ".npz", ".mat", ".h5", ".hdf5", ".fits", ".fit", ".svs", ".ndpi", ".czi", ".nd2",
    ".lif", ".pdf", ".mp4", ".m4v", ".avi", ".mov", ".mkv", ".wmv", ".webm", ".mpg", ".mpeg", ".zip", ".rar", ".7z",
    ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".lnk",
))  # fmt: skip
"""Image formats that are not read, videos, documents, archives and shortcuts."""
_STARTS = (
    (4, b"ftyphe", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (4, b"ftyp", "a video or another file in MP4's form"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"8BPS", "Photoshop"),
    (0, b"v/1\x01", "OpenEXR"),
    (0, b"\0\0\1\0", "an icon"),
    (0, b"P7\n", "PAM"),
    (0, b"Pf\n", "PFM"),
    (0, b"PF\n", "PFM"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"%PDF", "PDF"),
    (0, b"PK\3\4", "a zip archive"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"version http", "a pointer of Git LFS (git lfs pull fetches the file)"),
    (0, b"<", "a web page or another text"),
)
"""Place, bytes and name of what people take for images."""


def named(start: bytes) -> str:
    """The kind of file that begins so; "" for an unknown one. start: its first 12 bytes.

    Examples:
      >>> named(b"\\0\\0\\0\\x18ftypheic"), named(b"hello")
      ('HEIC', '')
    """
    return next((name for at, magic, name in _STARTS if start[at:].startswith(magic)), "")
