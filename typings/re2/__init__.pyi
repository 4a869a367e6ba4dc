class error(Exception): ...

class Options:
    max_mem: int
    log_errors: bool
    literal: bool
    case_sensitive: bool
    never_nl: bool
    never_capture: bool

class _Match:
    def start(self) -> int: ...

class _Regexp:
    @property
    def programsize(self) -> int: ...
    def search(self, text: bytes, pos: int = ..., endpos: int = ...) -> _Match | None: ...

def compile(pattern: str, options: Options | None = None) -> _Regexp: ...
def purge() -> None: ...
