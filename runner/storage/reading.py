"""What has been stored read back, where the kind of storage can."""

from runner.errors import StorageError
from runner.storage import LocalStorage, Storage


def read(storage: Storage, name: str) -> bytes | None:
    """The file of that name; None if there is none, or it cannot be read back from there."""
    if not isinstance(storage, LocalStorage):
        return None
    file = storage.folder / name
    try:
        return file.read_bytes() if file.is_file() else None
    except OSError as error:
        raise StorageError(f"{file} cannot be read: {error.strerror}") from error
