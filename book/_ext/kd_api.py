"""Sphinx extension: the reference of kdcore, read from its source files. Nothing is imported, so it
takes no time and needs no torch.

The directive `kd-api` has module names as its content and makes a section of each: the module's
docstring, then every public function and class with its signature and docstring. Each is a target
of the roles py:func and py:class, e.g. {py:func}`kdcore.stats.verdict`, each module of ref, e.g.
{ref}`kdcore-stats`. Docstrings are plain text: paragraphs, and lines whose columns are kept.
"""

import ast
import io
import re
import tokenize
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

KDCORE = Path(__file__).resolve().parents[2] / "kdcore"
COLUMNS = re.compile(r"(?<=\S) {2,}(?=\S)")
PIECES = re.compile(r"`([^`]+)`")


def public(body):
    """The functions and classes among statements whose names do not begin with an underscore, in
    the order of the file.
    """
    return [
        d
        for d in body
        if isinstance(d, (ast.FunctionDef, ast.ClassDef)) and not d.name.startswith("_")
    ]


# --------------------------------------------------------------------------------------- docstrings


def inline(text):
    """Text nodes, with `quoted` parts as code."""
    return [
        nodes.literal(text=part) if k % 2 else nodes.Text(part)
        for k, part in enumerate(PIECES.split(text))
        if part
    ]


def paragraph(text):
    return nodes.paragraph("", "", *inline(text))


def in_columns(line):
    """Whether a line stands apart from running text: indented, or with a gap of two blanks (outside
    of code) between words.
    """
    return line.startswith(" ") or bool(COLUMNS.search(PIECES.sub("x", line)))


def definitions(lines):
    """[(term, description)] where each line is a term, a gap and a description that may go on below
    itself; None where that does not fit.
    """
    pairs, margin = [], min(len(line) - len(line.lstrip()) for line in lines)
    for line in lines:
        parts = COLUMNS.split(line.strip())
        if len(line) - len(line.lstrip()) == margin:
            if len(parts) != 2 or parts[1].startswith("#"):
                return None
            pairs.append(parts)
        elif pairs and len(parts) == 1:
            pairs[-1][1] += " " + parts[0]
        else:
            return None
    return pairs


def rendered(docstring):
    """A docstring as nodes: paragraphs, definition lists for two columns, and preformatted text for
    anything else that is aligned.
    """
    found = []
    for block in re.split(r"\n\s*\n", docstring.strip("\n")):
        runs = []
        for line in block.split("\n"):
            kind = in_columns(line)
            if not runs or runs[-1][0] != kind:
                runs.append((kind, []))
            runs[-1][1].append(line)
        for kept, lines in runs:
            pairs = kept and definitions(lines)
            if pairs:
                items = [
                    nodes.definition_list_item(
                        "", nodes.term("", "", *inline(term)), nodes.definition("", paragraph(text))
                    )
                    for term, text in pairs
                ]
                found.append(nodes.definition_list("", *items, classes=["simple"]))
            elif kept:
                text = "\n".join(lines)
                found.append(nodes.literal_block(text, text, language="none"))
            else:
                found.append(paragraph(" ".join(lines)))
    return found


# --------------------------------------------------------------------------------------- signatures


def parameters(arguments):
    """[(name with stars, annotation, default)] of a function's arguments, "" where there is none;
    (*, "", "") before keyword-only ones.
    """
    positional = arguments.posonlyargs + arguments.args
    defaults = [None] * (len(positional) - len(arguments.defaults)) + arguments.defaults
    found = list(zip([""] * len(positional), positional, defaults))
    if arguments.vararg:
        found.append(("*", arguments.vararg, None))
    elif arguments.kwonlyargs:
        found.append(("*", None, None))
    found += zip([""] * len(arguments.kwonlyargs), arguments.kwonlyargs, arguments.kw_defaults)
    if arguments.kwarg:
        found.append(("**", arguments.kwarg, None))

    def text(node):
        return ast.unparse(node) if node else ""

    return [
        (stars + (a.arg if a else ""), text(a and a.annotation), text(default))
        for stars, a, default in found
        if not (a and a.arg in ("self", "cls"))
    ]


def parameter_list(function):
    found = addnodes.desc_parameterlist()
    for name, annotation, default in parameters(function.args):
        one = addnodes.desc_parameter("", "", addnodes.desc_sig_name("", name))
        if annotation:
            one += [addnodes.desc_sig_punctuation("", ": "), addnodes.desc_sig_name("", annotation)]
        if default:
            one += [
                addnodes.desc_sig_operator("", " = " if annotation else "="),
                nodes.inline("", default, classes=["default_value"]),
            ]
        found += one
    return found


def signature(definition, prefix):
    """`function name(parameters) -> result`, `class name(bases)` or `property name -> result`, with
    the part before the name.
    """
    properties = [
        d for d in definition.decorator_list if isinstance(d, ast.Name) and d.id == "property"
    ]
    line = addnodes.desc_signature("", "")
    if isinstance(definition, ast.ClassDef) or properties:
        line += addnodes.desc_annotation("", "property " if properties else "class ")
    line += [addnodes.desc_addname("", prefix), addnodes.desc_name("", definition.name)]
    if isinstance(definition, ast.ClassDef):
        if definition.bases:
            bases = [
                addnodes.desc_parameter("", "", addnodes.desc_sig_name("", ast.unparse(base)))
                for base in definition.bases
            ]
            line += addnodes.desc_parameterlist("", "", *bases)
        return line
    if not properties:
        line += parameter_list(definition)
    if definition.returns:
        line += addnodes.desc_returns("", ast.unparse(definition.returns))
    return line


def comment_of(line, comments):
    """The comment on the line of a statement, else the lines of comment right above it; "" where
    there is none. `comments`: {number of a line: (comment, whether nothing else is on the line)}.
    """
    if line.end_lineno in comments:
        return comments[line.end_lineno][0]
    above, number = [], line.lineno - 1
    while comments.get(number, ("", False))[1]:
        above, number = [comments[number][0], *above], number - 1
    return " ".join(above)


def fields(definition, comments):
    """The annotated names of a class body as a list: what is assigned, and the comment on it."""
    items = []
    for line in definition.body:
        if isinstance(line, ast.AnnAssign) and not line.target.id.startswith("_"):
            comment = comment_of(line, comments)
            words = [nodes.Text(": "), *inline(comment)] if comment else []
            items.append(
                nodes.list_item(
                    "", nodes.paragraph("", "", nodes.literal(text=ast.unparse(line)), *words)
                )
            )
    return [nodes.bullet_list("", *items, classes=["simple"])] if items else []


def source_of(name):
    """The file of a module or package, "metrics.eigen"."""
    path = KDCORE.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


class KdApi(SphinxDirective):
    has_content = True

    def run(self):
        return [self.section(name) for line in self.content for name in line.split()]

    def section(self, name):
        path = source_of(name)
        self.env.note_dependency(str(path))
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source)
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        comments = {
            token.start[0]: (token.string.lstrip("# "), token.line.lstrip().startswith("#"))
            for token in tokens
            if token.type == tokenize.COMMENT
        }
        label = f"kdcore-{name}".replace("_", "-").replace(".", "-")
        section = nodes.section(
            "",
            nodes.title("", f"kdcore.{name}"),
            *rendered(ast.get_docstring(tree) or ""),
            ids=[label],
            names=[label],
        )
        section += [self.entry(d, f"kdcore.{name}.", "", comments) for d in public(tree.body)]
        self.env.get_domain("std").note_hyperlink_target(
            label, self.env.docname, label, f"kdcore.{name}"
        )
        return section

    def entry(self, definition, module, prefix, comments):
        """One function or class, and the documented methods of a class, as a description that other
        pages can link to.
        """
        is_class = isinstance(definition, ast.ClassDef)
        kind = "class" if is_class else "method" if prefix else "function"
        line, name = signature(definition, prefix), f"{module}{prefix}{definition.name}"
        line["ids"] = [name]
        self.env.get_domain("py").note_object(name, kind, name, location=line)
        content = addnodes.desc_content("", *rendered(ast.get_docstring(definition) or ""))
        if is_class:
            methods = [
                d
                for d in public(definition.body)
                if isinstance(d, ast.FunctionDef) and ast.get_docstring(d)
            ]
            content += fields(definition, comments)
            content += [self.entry(d, module, f"{definition.name}.", comments) for d in methods]
        return addnodes.desc(
            "", line, content, domain="py", objtype=kind, desctype=kind, classes=["py", kind]
        )


def setup(app):
    app.add_directive("kd-api", KdApi)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
