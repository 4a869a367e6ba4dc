"""Ten histories in the shapes of public ones: notes, dotfiles, code. Equal each time, by seeds."""

from __future__ import annotations

from collections.abc import Sequence

from memrepo.validation.names import FILE_AND_FOLDER, SAME_NAME
from memrepo_worker.git.objects import Kind
from tests.support.histories import EXECUTABLE, FILE, LINK, SUBMODULE, Scribe
from tests.support.story import (
    BACKSLASH,
    CONTROL,
    DEVICE,
    MODULES,
    NOT_UTF8,
    TOO_LARGE,
    TRAILING,
    WINDOWS,
    Story,
)


def vault() -> Story:
    """Notes as Obsidian keeps them: spaces, emoji, attachments, questions as names, folders that are renamed."""
    story = Story(1)
    story.put(".obsidian/app.json", b'{"promptDelete": false}')
    story.put(".obsidian/plugins/dataview/main.js", story.text(300))
    story.put("Welcome.md", b"# Welcome\n\n[[Daily notes/2023-01-01]]\n")
    story.put("Vorlagen/T\u00e4glich \U0001f31e.md", b"## {{date}}\r\n\r\n- [ ] \r\n")
    story.commit(message="vault backup: 2023-01-01 09:00:00")
    for day in range(1, 50):
        name = f"Daily notes/2023-{1 + day // 28:02}-{1 + day % 28:02}.md"
        story.put(name, story.text(5 + day % 7))
        if day % 5 == 0:
            story.put(f"attachments/Pasted image 202301{day:02}.png", story.random.randbytes(3000))
        if day % 7 == 0:
            story.put(f"\U0001f4c1 Projekte/R\u00e9sum\u00e9 {day}.canvas", b"{}")
            story.put(f"people/Bj\u00f6rk {day} \u65e5\u672c\u8a9e.md".replace("\u00f6", "o\u0308"), b"")
        if day == 12:
            story.put('What is "it"?.md', b"?\n", WINDOWS)
            story.put("Meeting 10:30.md", b"notes\n", WINDOWS)
        if day == 20:
            story.put('What is "it"?.md', b"answered\n")
            story.put("etc. and so on...", b"", TRAILING)
            story.put("attachments/film.mp4", bytes(9 * 1024 * 1024), TOO_LARGE)
        if day == 30:
            story.drop("Meeting 10:30.md", "attachments/film.mp4")
            story.move("Daily notes/", "Journal/2023/")
        if day == 40:
            story.drop('What is "it"?.md', "etc. and so on...")
        story.commit(message=f"vault backup: day {day}")
    return story


def zettelkasten() -> Story:
    """Numbered notes: percent signs, conflicts of a sync, files that become folders, folders that change case."""
    story = Story(2)
    story.put("Projects/One.md", b"one\n")
    story.put("Projects/Two/Plan.md", b"two\n")
    story.put("journals/2023_01_01.md", b"- \r\n")
    story.commit(message="init")
    for number in range(1, 41):
        story.put(f"pages/{number} topic%2Fsub___{number % 3}.md", story.text(4, b"\r\n"))
        if number % 4 == 0:
            story.put(f"pages/note (conflict {number}).md", b"<<<<<<< HEAD\n=======\n>>>>>>>\n")
        if number % 6 == 0:
            story.put("inbox", story.text(2))
        if number % 6 == 3 and "inbox" in story.files:
            story.drop("inbox")
            story.put(f"inbox/{number}.md", b"")
        if number % 6 == 5:
            story.drop(*[path for path in story.files if path.startswith("inbox/")])
        if number == 15:
            story.move("Projects/", "projects/")
        if number == 20:
            story.put("Projects/Stray.md", b"from another machine\n", SAME_NAME)
        if number == 25:
            story.put("Projects/Stray.md", b"edited there\n")
        if number == 30:
            story.move("projects/", "Archive/")
            del story.refused["Projects/Stray.md"]
        story.commit(message=f"auto {number}")
    return story


def synced() -> Story:
    """Notes of a phone and a laptop: merges both ways, clocks that run backwards, zones, empty messages."""
    story = Story(3)
    story.put("list.md", b"milk\n")
    laptop = story.commit(message="")
    phone = story.side(laptop, files={"list.md": b"milk\n", "phone.md": b"a\n"}, message="\n\n")
    for number in range(40):
        zone = ("+0530", "-0330", "-0000", "+1245")[number % 4]
        at_s = 1_700_000_000 - number * 86_400 if number % 3 else 5_000_000_000 + number
        phone = story.side(
            phone,
            *([laptop] if number % 8 == 5 else []),
            files={"phone.md": story.text(3)},
            at_s=at_s,
            zone=zone,
        )
        story.put(f"from laptop {number % 9}.md", story.text(3))
        if number % 5 == 2:
            story.put("phone.md", b"%d\n" % number)
            laptop = story.commit(phone, message="Merge branch 'main' of phone", at_s=at_s, zone=zone)
        else:
            laptop = story.commit(
                message="  " if number % 7 == 0 else f"sync {number}\n\n\n", at_s=at_s, zone=zone
            )
    return story


def dotfiles() -> Story:
    """Dot names, programs, links that come, go and turn into files."""
    story = Story(4)
    story.put(".bashrc", b"export EDITOR=vi\n")
    story.put(".config/nvim/init.lua", b"vim.o.number = true\n")
    story.put("bin/update", (EXECUTABLE, b"#!/bin/sh\n"))
    story.commit(message="Initial commit")
    story.put(".vimrc", (LINK, b".config/nvim/vimrc"))
    story.put(".config/nvim/vimrc", b"set number\n")
    story.put(".zshrc", (LINK, b".bashrc"))
    story.commit(message="link")
    for number in range(30):
        story.put(".bashrc", story.text(10))
        path = f"bin/tool-{number % 6}"
        was = story.files.get(path)
        mode = FILE if isinstance(was, tuple) and was[0] == EXECUTABLE else EXECUTABLE
        story.put(path, (mode, b"#!/usr/bin/env python3\n# %d\n" % (number // 6)))
        if number == 10:
            story.put(".vimrc", b"set number\n")  # a file now
        if number == 15:
            story.put(".bashrc.d", (LINK, b"elsewhere"))
        if number == 18:
            story.drop(".bashrc.d")
            story.put(".bashrc.d/10-path.sh", b"PATH=~/bin:$PATH\n")  # a folder now
        if number == 22:
            story.put(".config/nvim/vimrc", (LINK, b"../../.vimrc"))
        if number == 26:
            story.drop(".zshrc")
        story.commit(message=f"tweak {number}")
    return story


def dotfiles_with_submodules() -> Story:
    """Plugins as submodules, which move on, are removed, and become folders."""
    story = Story(5)
    story.put(".gitmodules", b'[submodule "vim/plug"]\n\tpath = vim/plug\n\turl = x\n', MODULES)
    story.put("vim/plug", (SUBMODULE, "1" * 40))
    story.put("vim/vimrc", b"call plug\n")
    story.commit(message="plugins")
    for number in range(2, 20):
        story.put("vim/vimrc", story.text(3))
        if number % 4 == 0:
            story.put("vim/plug", (SUBMODULE, f"{number:040d}"))
        if number == 7:
            story.put("zsh/themes/agnoster", (SUBMODULE, "2" * 40))
            story.put(".gitmodules", b"changed\n")
        if number == 13:
            story.drop("zsh/themes/agnoster")
            story.put("zsh/themes/agnoster/agnoster.zsh-theme", b"PROMPT=\n")
        story.commit(message=f"bump {number}")
    story.drop("vim/plug", ".gitmodules")
    story.commit(message="vendored no more")
    return story


def dotfiles_of_a_system() -> Story:
    """Names of a whole system's configuration: escapes of systemd, devices, options, blanks."""
    story = Story(6)
    for name in (
        "-rf",
        "[x]",
        "$HOME",
        "~user",
        "a b  c",
        "Code - OSS/User/settings.json",
        ".gitconfig",
        "git~x",
        "#x#",
    ):
        story.put(f"etc/{name}", b"%b\n" % name.encode())
    story.commit(message="etc")
    for number in range(12):
        story.put("etc/fstab", story.text(4))
        if number == 2:
            story.put("systemd/dev-disk\\x2dby\\x2did.mount", b"[Mount]\n", BACKSLASH)
        if number == 3:
            story.put("vim/colors/aux.vim", b"hi\n", DEVICE)
            story.put("icons/Icon\r", b"", CONTROL)
        if number == 4:
            story.put("fonts/caf\udce9.ttf", b"\0\1", NOT_UTF8)
        if number == 6:
            story.put("vim/colors/aux.vim", b"hi there\n")
        if number == 8:
            story.drop("icons/Icon\r", "vim/colors/aux.vim")
        story.commit(message=f"etckeeper {number}")
    return story


def merged_code() -> Story:
    """Merges of every kind: octopus, criss-cross, another root; signed, with tags, notes and replacements."""
    story = Story(7)
    story.put("src/main.c", b"int main(void) { return 0; }\n")
    base = story.commit(message="Initial import")
    story.put("Makefile", b"all:\n\tcc src/main.c\n")
    sides = [story.side(base, files={f"side{number}.c": b""}) for number in range(4)]
    for number, _ in enumerate(sides):
        story.put(f"side{number}.c", b"")
    octopus = story.commit(*sides, message="Merge branches 'a', 'b', 'c' and 'd'")
    left, right = (story.side(octopus, files={name: b""}) for name in ("left.c", "right.c"))
    crossed = story.side(right, left, files={"left.c": b"", "right.c": b"2"}, message="Merge left")
    story.put("left.c", b"")
    story.commit(left, message="Merge left into main")
    story.put("right.c", b"2")
    story.commit(crossed, message="Merge right, which merged left")
    foreign = story.side(files={"lib/README": b"a library\n"}, message="another root")
    story.put("lib/README", b"a library\n")
    story.commit(foreign, message="Add 'lib/' from commit 'x'")
    signature = b"gpgsig -----BEGIN PGP SIGNATURE-----\n \n iQ\n -----END PGP SIGNATURE-----"
    tag = story.scribe.add(
        Kind.TAG, b"object %b\ntype commit\ntag v1\ntagger T <t@e.org> 1 +0000\n\nv1\n" % octopus.encode()
    )
    merge_tag = (
        b"mergetag object %b\n type commit\n tag v1\n tagger T <t@e.org> 1 +0000\n \n v1" % left.encode()
    )
    for number in range(30):
        story.put(f"src/part{number % 7}.c", story.text(8))
        if number % 9 == 4:
            story.move("src/", "source/") if "src/main.c" in story.files else story.move("source/", "src/")
        story.commit(
            *([story.side(left, files={"x": b"%d" % number})] if number % 6 == 0 else []),
            message=f"part {number}\n\nSigned-off-by: A <a@e.org>\n",
            headers=[signature, b"HG:extra rebase_source:x"] if number % 2 else [merge_tag],
        )
    notes = story.side(files={base: b"a note\n"}, message="Notes")
    story.refs = {
        "refs/tags/v1": tag,
        "refs/notes/commits": notes,
        f"refs/replace/{octopus}": base,
        "refs/heads/topic": crossed,
        "refs/pull/1/head": sides[0],
    }
    return story


def encoded_code() -> Story:
    """Texts in old encodings, authors and messages that today's git would not write, dates beyond all calendars."""
    story = Story(8)
    latin, cp1252, japanese = (
        "J\u00f6rg".encode("latin-1"),
        "\u201eZo\u00eb\u201c".encode("cp1252"),
        "\u65e5\u672c",
    )
    authors: tuple[tuple[bytes, Sequence[bytes], bytes], ...] = (
        (latin + b" <j@example.org>", [b"encoding ISO-8859-1"], "f\u00fcr".encode("latin-1")),
        (cp1252 + b" <z@example.org>", [b"encoding windows-1252"], b"\x93quoted\x94"),
        (japanese.encode("euc-jp") + b" <n@example.org>", [b"encoding EUC-JP"], japanese.encode("euc-jp")),
        (latin + b" <j@example.org>", [], b"no encoding named, \xff\xfe"),
        (b" <>", [], b""),
        (b"nobody <>", [], b"\n"),
        (b'A "quoted", name. <a@example.org>', [], b"first line\r\nsecond line\r\n"),
        (b"x" * 300 + b" <long@example.org>", [], b"long " * 20_000),
        (b"Ann\x01 Lee <ann@example.org>", [], b"bell \x07 and \x1b[31mred\n"),
    )
    for number, (author, headers, message) in enumerate(authors * 3):
        story.put(
            f"src/file{number}.txt", story.random.choice((b"\xff\xfebinary\0", b"line\r\n", b"no end", b""))
        )
        at_s = (0, 1, 2**31, 2**32 + 7, 253_402_300_799, -1)[number % 6]
        story.commit(author=author, headers=headers, message=message, at_s=at_s)
    story.commit(message="nothing changed")
    story.files.clear()
    story.commit(message="all gone")
    story.put("again.txt", b"")
    story.commit(message="and back")
    return story


def old_code() -> Story:
    """Trees as tools of old spelled them, empty folders, an empty beginning, names that differ only in case."""
    story = Story(9)
    padded = Scribe(folder_mode="040000", objects=story.scribe.objects)
    story.commit(message="empty")
    for number in range(20):
        story.put(f"Lib/Mod{number % 5}.pm", ("100664" if number % 3 else FILE, story.text(3)))
        story.put("Changes", story.text(2))
        story.commit(tree=padded.tree(story.files) if number % 2 else None, message=f"r{number}")
    lines = [("40000", b"hollow", padded.raw_tree([("040000", b"inner", padded.raw_tree([]))]))]
    whole = {**{name: content for name, content in story.files.items() if "/" not in name}}
    for name, content in whole.items():
        assert isinstance(content, bytes)
        lines.append((FILE, name.encode(), padded.blob(content)))
    library = {
        path.removeprefix("Lib/"): content for path, content in story.files.items() if path.startswith("Lib/")
    }
    lines.append(("040000", b"Lib", padded.tree(library)))
    story.commit(tree=padded.raw_tree(lines), message="empty folders, in no order")
    story.put("lib/Mod9.pm", b"in another folder, but for case\n", SAME_NAME)
    story.put("CHANGES", b"twice\n", SAME_NAME)
    story.put("changes/1", b"a folder\n", FILE_AND_FOLDER)
    story.commit(message="merged on Linux")
    story.put("lib/Mod9.pm", b"edited\n")
    story.commit(message="edited on Linux")
    story.drop("Changes", "changes/1")
    del story.refused["CHANGES"]
    story.move("Lib/", "old/")
    del story.refused["lib/Mod9.pm"]
    story.commit(message="room for the others")
    story.move("old/", "Old/")
    story.commit(message="only the case of a folder")
    return story


def many_files() -> Story:
    """2,000 files at once, edited, all moved, all gone."""
    story = Story(10)
    for number in range(2000):
        story.put(f"packages/p{number % 40:02}/src/module{number:04}.js", b"export const n = %d\n" % number)
    story.commit(message="monorepo")
    for number in range(10):
        for path in story.random.sample(sorted(story.files), 30):
            story.put(path, story.text(4))
        story.commit(message=f"change {number}")
    story.move("packages/", "Packages/")
    story.commit(message="only the case of the top folder")
    story.move("Packages/p0", "libs/p0")
    story.commit(message="a quarter moves")
    story.drop(*[path for path in story.files if path.startswith("Packages/")])
    story.commit(message="the rest goes")
    return story


STORIES = (
    vault,
    zettelkasten,
    synced,
    dotfiles,
    dotfiles_with_submodules,
    dotfiles_of_a_system,
    merged_code,
    encoded_code,
    old_code,
    many_files,
)
