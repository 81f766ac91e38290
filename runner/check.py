"""What is wrong with a workflow, found without running it: each finding with a fix. Pure."""

import dataclasses
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner import models, parameters, workflow
from runner.errors import WorkflowError
from runner.graph import browser_only_inputs, to_api
from runner.graph.prune import needed_nodes
from runner.graph.specs import Spec, spec_of, specs_of
from runner.parameters import Parameter
from runner.shape import mapping, sequence
from runner.workflow import Document

ApiPrompt = Mapping[str, Mapping[str, Any]]
ObjectInfo = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, where, and what would mend it."""

    kind: str  # stable, snake_case
    node: str  # title, or what of the file is meant
    node_id: str
    message: str
    fix: str
    error: bool = True  # False: it runs, but somebody will be surprised


def check(document: Document, object_info: ObjectInfo) -> tuple[Finding, ...]:
    """Every finding about a workflow against a ComfyUI's node definitions."""
    found = [*_contract(document), *_outputs(document, object_info)]
    try:
        prompt = to_api(document, object_info, unknown="keep")
    except WorkflowError as error:
        return (*found, Finding("broken", "file", "", error.message, "mend it in the editor"))
    needed = {model.name: model for model in models.needed(document)}
    if not any(finding.kind == "output" for finding in found):
        found += _without_result(prompt, object_info)
    found += _unknown_nodes(document, object_info)
    found += _browser_only(prompt, object_info)
    for node_id in sorted(needed_nodes(prompt, object_info)):
        if prompt[node_id].get("class_type") in object_info:
            found += _inputs(prompt, node_id, prompt[node_id], object_info, needed)
    return tuple(dict.fromkeys(found))


def saves_something(document: Document) -> bool:
    """Whether a node looks as if it saved or showed something: a guess, without definitions. Pure."""
    return any(
        re.search(
            "save|preview|show", str(node.get("type") or node.get("class_type")), re.IGNORECASE
        )
        or "filename_prefix" in mapping(node.get("inputs"))
        for node in workflow.all_nodes(document)
    )


# --- the contract -----------------------------------------------------------------------------


def _contract(document: Document) -> Iterator[Finding]:
    try:
        yield from _unfit(parameters.read(document))
    except WorkflowError as error:
        yield Finding("parameters", "parameters", "", error.message, "mend the parameter nodes")
    definitions = sequence(mapping(document.get("definitions")).get("subgraphs"))
    for graph in map(mapping, definitions):
        for node in map(mapping, sequence(graph.get("nodes"))):
            if node.get("type") in parameters.WIDGETS:
                yield Finding(
                    "parameter_in_subgraph",
                    workflow.title(node),
                    str(node.get("id")),
                    f"stands inside the subgraph {graph.get('name')}, where no caller can reach it",
                    "move it to the root graph and link it to an input of the subgraph",
                )


def _unfit(found: Sequence[Parameter]) -> Iterator[Finding]:
    by_name = {parameter.name: parameter for parameter in found}
    for problem in parameters.unfit(found):
        own = by_name[problem.parameter.partition("[")[0]]
        yield Finding("unfit_parameter", own.title, own.node_id, str(problem),
                      "give it a value within its limits, or widen them")  # fmt: skip


def _outputs(document: Document, object_info: ObjectInfo) -> Iterator[Finding]:
    if "nodes" not in document:
        return  # an API file: its outputs are its saving nodes, whatever they are called
    by_id = {str(node.get("id")): node for node in workflow.nodes(document)}
    chosen = [str(i) for i in sequence(workflow.linear_data(document).get("outputs"))]
    for node_id in (i for i in chosen if ":" not in i):
        node = by_id.get(node_id)
        if node is None:
            yield _output(node_id, "output", "the App view names a node that is not there")
        elif node.get("mode") in (2, 4):
            yield _output(node_id, workflow.title(node), "is an output, but muted or bypassed")
        elif not mapping(object_info.get(str(node.get("type")), {"output_node": 1})).get(
            "output_node"
        ):
            yield _output(node_id, workflow.title(node), "is named as an output, but saves nothing")
    titles = [workflow.title(by_id[i]) for i in chosen if i in by_id]
    for name in sorted({t for t in titles if titles.count(t) > 1}):
        yield Finding("output_name", name, "", f"{titles.count(name)} outputs have this name",
                      "give each saving node a title of its own")  # fmt: skip
    if not chosen:
        yield Finding("no_outputs", "App view", "", "names no outputs, so it shows no form",
                      "choose the outputs in the App builder", error=False)  # fmt: skip


def _without_result(prompt: ApiPrompt, object_info: ObjectInfo) -> Iterator[Finding]:
    classes = {str(node.get("class_type")) for node in prompt.values()}
    if not any(
        mapping(object_info.get(c, {"output_node": True})).get("output_node") for c in classes
    ):
        yield Finding("no_output_node", "file", "", "nothing in it saves or shows anything",
                      workflow.ADD_SAVING)  # fmt: skip


def _output(node_id: str, title: str, message: str) -> Finding:
    return Finding("output", title, node_id, message, "choose the outputs anew in the App builder")


# --- nodes ------------------------------------------------------------------------------------


def _unknown_nodes(document: Document, object_info: ObjectInfo) -> Iterator[Finding]:
    try:
        to_api(document, object_info)
    except WorkflowError as error:
        for node in map(mapping, sequence(error.details.get("nodes"))):
            fix = f"install the node pack {node['pack'] or 'it comes from'}"
            message = f"ComfyUI has no node {node['type']}"
            yield Finding("unknown_node", node["title"], node["id"], message, fix)


def _browser_only(prompt: ApiPrompt, object_info: ObjectInfo) -> Iterator[Finding]:
    for problem in browser_only_inputs(prompt, object_info):
        message = f"{problem.input} is made by the browser when a job is queued"
        yield Finding("browser_only", problem.title, problem.node_id, message, problem.instead)


def _inputs(
    prompt: ApiPrompt,
    node_id: str,
    node: Mapping[str, Any],
    object_info: ObjectInfo,
    needed: Mapping[str, models.Model],
) -> Iterator[Finding]:
    inputs = mapping(node["inputs"])
    for spec in specs_of(object_info, node):
        if spec.required and spec.name not in inputs and spec.is_plain:
            yield Finding("not_linked", _title(node), node_id, f"{spec.name} is not linked",
                          f"link an output of type {spec.type} to it")  # fmt: skip
    for name, value in inputs.items():
        spec = spec_of(object_info, node, name)
        if spec is None:
            continue
        source = _source(prompt, value)
        if source is None:
            yield from _literal(spec, value, node_id, node, needed)
        else:
            yield from _link(spec, *source, node_id, node, object_info, needed)


def _literal(
    spec: Spec,
    value: Any,
    node_id: str,
    node: Mapping[str, Any],
    needed: Mapping[str, models.Model],
) -> Iterator[Finding]:
    title = _title(node)
    own = node.get("class_type") in parameters.WIDGETS  # its choices are the node's own
    if spec.offered is not None and not own and not _offered(spec, value, node):
        yield _not_offered(spec, value, node_id, node, needed)
    if isinstance(value, int | float) and not isinstance(value, bool) and not spec.within(value):
        yield Finding("out_of_range", title, node_id,
                      f"{spec.name} is {value:g}, which is not between {spec.range_text}",
                      "choose a value in that range")  # fmt: skip


def _offered(spec: Spec, value: Any, node: Mapping[str, Any]) -> bool:
    """Whether a list holds a value, under one of the names that a file may have."""
    names = models.names_of(value, node) if isinstance(value, str) else (value,)
    # At strength 0 a LoRA is not loaded.
    off = spec.name == "lora_name" and mapping(node["inputs"]).get("strength") == 0
    return off or any(name in (spec.offered or ()) for name in names)


def _missing_model(
    value: Any, node_id: str, node: Mapping[str, Any], needed: Mapping[str, models.Model]
) -> Finding | None:
    """The finding, if the value stands for a model file that the workflow names."""
    model = next((needed[n] for n in models.names_of(str(value), node) if n in needed), None)
    if model is None:
        return None
    source = f" from {model.url}" if model.url else ""
    return Finding("missing_model", _title(node), node_id, f"{model.name} is not there",
                   f"put it into models/{model.directory}/{source}")  # fmt: skip


def _not_offered(
    spec: Spec,
    value: Any,
    node_id: str,
    node: Mapping[str, Any],
    needed: Mapping[str, models.Model],
) -> Finding:
    title = _title(node)
    if model := _missing_model(value, node_id, node, needed):
        return model
    if spec.uploads:
        return Finding("missing_input", title, node_id, f"{spec.name}: there is no input file {value}",
                       "put it into ComfyUI's input folder, or use a parameter")  # fmt: skip
    offered = [str(o) for o in spec.offered or ()]
    near = difflib.get_close_matches(str(value), offered, n=1)
    fix = f"did you mean {near[0]}?" if near else f"choose one of {_some(offered)}"
    return Finding("not_offered", title, node_id, f"{spec.name}: {value!r} is not on offer", fix)


def _link(
    spec: Spec,
    source_id: str,
    source: Mapping[str, Any],
    slot: int,
    node_id: str,
    node: Mapping[str, Any],
    object_info: ObjectInfo,
    needed: Mapping[str, models.Model],
) -> Iterator[Finding]:
    title = _title(node)
    gives = sequence(mapping(object_info.get(str(source.get("class_type")))).get("output"))
    if slot < len(gives) and not spec.takes(gives[slot]):
        yield Finding("wrong_link", title, node_id,
                      f"{spec.name} takes {spec.type}, but {_title(source)} gives {gives[slot]}",
                      "link an output of that type")  # fmt: skip
    parameter = parameters.from_prompt(source_id, source) if slot == 0 else None
    if parameter is not None:
        if parameter.kind == "choice" and spec.offered is not None:
            yield from _offers(spec, parameter, node_id, node, needed)
        yield from _limits(spec, parameter, title)


def _offers(
    spec: Spec,
    parameter: Parameter,
    node_id: str,
    node: Mapping[str, Any],
    needed: Mapping[str, models.Model],
) -> Iterator[Finding]:
    """The choices that a caller may make, and the node then refuses."""
    refused = [choice for choice in parameter.choices if not _offered(spec, choice, node)]
    absent = {choice: _missing_model(choice, node_id, node, needed) for choice in refused}
    for choice, finding in absent.items():
        if finding is not None:  # what nobody chooses need not be there
            yield dataclasses.replace(finding, error=choice == parameter.value)
    if wrong := [choice for choice, finding in absent.items() if finding is None]:
        where = f"{_title(node)}.{spec.name}"
        yield Finding("choice_not_offered", parameter.title, parameter.node_id,
                      f"offers {_some(wrong)}, which {where} does not take",
                      f"{where} takes {_some([str(o) for o in spec.offered or ()])}")  # fmt: skip


def _limits(spec: Spec, parameter: Parameter, title: str) -> Iterator[Finding]:
    """A linked value is checked by nobody at submit, so a parameter must not allow more."""
    if parameter.kind not in ("integer", "number"):
        return
    limits = parameter.limits
    allowed = limits.get("enum") or [limits["minimum"], limits["maximum"]]
    low, high = min(allowed), max(allowed)
    if not (spec.within(low) and spec.within(high)):
        yield Finding("limits", parameter.title, parameter.node_id,
                      f"allows {low:g} to {high:g}, but {title}.{spec.name} takes {spec.range_text}",
                      "narrow its min and max")  # fmt: skip


def _source(prompt: ApiPrompt, value: Any) -> tuple[str, Mapping[str, Any], int] | None:
    pair = sequence(value)
    if len(pair) != 2 or str(pair[0]) not in prompt or not isinstance(pair[1], int):
        return None
    return str(pair[0]), prompt[str(pair[0])], pair[1]


def _title(node: Mapping[str, Any]) -> str:
    return str(mapping(node.get("_meta")).get("title") or node.get("class_type") or "?")


def _some(texts: list[str]) -> str:
    shown = ", ".join(texts[:6])
    return f"{shown} and {len(texts) - 6} more" if len(texts) > 6 else shown
