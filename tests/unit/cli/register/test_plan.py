"""From damaged registrations to the right one: what is planned, why, and that a run may be stopped anywhere."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.cli.register.plan import Action, Repairs, plan, plan_removal
from shared.cli.register.wanted import ENABLED, WEBHOOK, Endpoint, Image, Step, StepKey, Target, Wanted, WantedStep

HERE = "sb://contoso-sync.servicebus.windows.net/dynamics-changes"
QUEUE = Target(
    {
        "contract": 6,
        "authtype": 2,
        "messageformat": 2,
        "namespaceaddress": "sb://contoso-sync.servicebus.windows.net/",
        "path": "dynamics-changes",
        "saskeyname": "dataverse-send",
    }
)
HOOK = Target({"contract": WEBHOOK, "authtype": 4, "url": "https://contoso-sync.azurewebsites.net/api/receive_webhook"})
STEP = {"stage": 40, "mode": 1, "supporteddeployment": 0, "asyncautodelete": True}
IMAGE = {"imagetype": 0, "messagepropertyname": "Target", "entityalias": "pre", "attributes": "record1id,record2id"}
STEPS: dict[StepKey, WantedStep] = {
    ("contact", "Create"): WantedStep(STEP),
    ("contact", "Update"): WantedStep({**STEP, "filteringattributes": "firstname,lastname,ownerid"}),
    ("connection", "Delete"): WantedStep(STEP, IMAGE),
}
WANTED = Wanted("msisync", QUEUE, STEPS, frozenset({HERE, HOOK.place}))
WEBHOOK_WANTED = replace(WANTED, target=HOOK)
NUMBERS = count(1)


class World:
    """Endpoints that actions are carried out on, as Dataverse would."""

    def __init__(self, endpoints: list[Endpoint]) -> None:
        self.endpoints = {endpoint.id: endpoint for endpoint in endpoints}
        self._made: dict[str, str] = {}

    def state(self) -> list[Endpoint]:
        return list(self.endpoints.values())

    def do(self, action: Action) -> None:
        if action.verb == "create":
            self._made[action.kind] = f"new-{next(NUMBERS)}"
            self._create(action, self._made[action.kind])
        elif action.kind == "endpoint":
            self._change_endpoint(action)
        else:
            before = self.state()
            for endpoint in before:
                self.endpoints[endpoint.id] = replace(endpoint, steps=tuple(_steps_after(endpoint.steps, action)))
            assert self.state() != before, f"{action} has done nothing"

    def _create(self, action: Action, id_: str) -> None:
        if action.kind == "endpoint":
            assert action.secret
            self.endpoints[id_] = Endpoint(id_, action.values["name"], action.values, has_secret=True)
        elif action.kind == "step":
            endpoint = self.endpoints[action.parent or self._made["endpoint"]]
            step = Step(id_, action.values["name"], *action.key, {**action.values, "statecode": 0})
            self.endpoints[endpoint.id] = replace(endpoint, steps=(*endpoint.steps, step))
        else:
            parent = action.parent or self._made["step"]
            for endpoint in self.state():
                steps = [
                    replace(step, images=(*step.images, Image(id_, action.values))) if step.id == parent else step
                    for step in endpoint.steps
                ]
                self.endpoints[endpoint.id] = replace(endpoint, steps=tuple(steps))

    def _change_endpoint(self, action: Action) -> None:
        endpoint = self.endpoints.pop(action.id)
        if action.verb == "delete":
            assert not endpoint.steps, "Dataverse deletes no endpoint that has steps"
            return
        has_secret = endpoint.has_secret or action.secret
        self.endpoints[action.id] = replace(
            endpoint, values={**endpoint.values, **action.values}, has_secret=has_secret
        )


def _steps_after(steps: tuple[Step, ...], action: Action) -> Iterator[Step]:
    for step in steps:
        if action.kind == "step" and step.id == action.id:
            if action.verb == "delete":
                assert not step.images, "images go before their step"
            else:
                yield replace(step, values={**step.values, **action.values})
        elif action.kind == "image":
            yield replace(step, images=tuple(_images_after(step.images, action)))
        else:
            yield step


def _images_after(images: tuple[Image, ...], action: Action) -> Iterator[Image]:
    for image in images:
        if image.id != action.id:
            yield image
        elif action.verb == "update":
            assert not action.values.keys() & {"imagetype", "messagepropertyname"}, "Dataverse changes neither"
            yield Image(image.id, {**image.values, **action.values})


def done(wanted: Wanted, endpoints: list[Endpoint], *, stop_after: int | None = None) -> World:
    world = World(endpoints)
    for action in plan(wanted, endpoints).actions[:stop_after]:
        world.do(action)
    return world


def right(name: str = "msisync") -> Endpoint:
    (endpoint,) = done(WANTED, []).state()
    return replace(endpoint, id=name, name=name)


def step_of(endpoint: Endpoint, table: str, message: str) -> Step:
    return next(step for step in endpoint.steps if (step.table, step.message) == (table, message))


def with_step(endpoint: Endpoint, table: str, message: str, **values: Any) -> Endpoint:
    old = step_of(endpoint, table, message)
    steps = [replace(s, values={**s.values, **values}) if s is old else s for s in endpoint.steps]
    return replace(endpoint, steps=tuple(steps))


def with_images(endpoint: Endpoint, *images: dict[str, Any]) -> Endpoint:
    old = step_of(endpoint, "connection", "Delete")
    made = tuple(Image(f"image-{number}", values) for number, values in enumerate(images))
    return replace(endpoint, steps=tuple(replace(s, images=made) if s is old else s for s in endpoint.steps))


def test_from_nothing_the_endpoint_comes_first_and_an_image_right_after_its_step() -> None:
    assert [f"{a.verb} {a.what}: {a.why}" for a in plan(WANTED, []).actions] == [
        f"create endpoint msisync: nothing posts to {HERE}", "create step contact Create: missing",
        "create step contact Update: missing", "create step connection Delete: missing",
        "create image of step connection Delete: missing",
    ]  # fmt: skip


def is_right(found: Repairs) -> bool:
    return not found.actions and not found.attention


def test_nothing_is_done_when_all_is_right() -> None:
    assert is_right(plan(WANTED, [right()]))
    shuffled = with_step(right(), "contact", "Update", filteringattributes="ownerid, lastname,firstname")
    assert is_right(plan(WANTED, [shuffled]))


def test_a_wrong_format_is_repaired_and_the_key_stays() -> None:
    (action,) = plan(WANTED, [replace(right(), values={**right().values, "messageformat": 1})]).actions
    assert (action.verb, action.values, action.secret) == ("update", {"messageformat": 2}, False)
    assert action.why == "messageformat is binary XML, not JSON"


def test_another_address_is_repaired_together_with_its_key() -> None:
    moved = replace(right(), values={**right().values, "namespaceaddress": "sb://old.servicebus.windows.net/"})
    (action,) = plan(WANTED, [moved]).actions
    assert action.values == {"namespaceaddress": "sb://contoso-sync.servicebus.windows.net/"}
    assert action.secret


def test_a_lost_key_is_seen_and_a_set_one_is_written_again_only_when_told() -> None:
    (action,) = plan(WANTED, [replace(right(), has_secret=False)]).actions
    assert action.secret
    assert "saskey is not set" in action.why
    (action,) = plan(WANTED, [right()], new_key=True).actions
    assert (action.verb, action.secret, action.values) == ("update", True, {})


def test_a_disabled_step_is_enabled_after_it_has_been_repaired() -> None:
    damaged = with_step(
        right(), "contact", "Update", statecode=1, statuscode=2, filteringattributes="firstname,priority"
    )
    repaired, enabled = plan(WANTED, [damaged]).actions
    assert repaired.verb == "update"
    assert repaired.why == "it misses lastname, ownerid; it needs no priority"
    assert (enabled.verb, enabled.values) == ("enable", ENABLED)


def test_a_step_for_every_column_is_told_what_to_watch() -> None:
    (action,) = plan(WANTED, [with_step(right(), "contact", "Update", filteringattributes=None)]).actions
    assert "every column" in action.why


def test_stage_and_mode_change_in_one_write() -> None:
    (action,) = plan(WANTED, [with_step(right(), "contact", "Create", stage=20, mode=0)]).actions
    assert action.values == {"stage": 40, "mode": 1}  # asynchronous goes with stage 40 alone


def test_a_step_of_a_table_that_is_no_longer_mapped_goes_last() -> None:
    fewer = replace(WANTED, steps={key: step for key, step in STEPS.items() if key[0] == "contact"})
    assert [f"{a.verb} {a.what}: {a.why}" for a in plan(fewer, [right()]).actions] == [
        "delete image of step connection Delete: sync.toml does not map connection",
        "delete step connection Delete: sync.toml does not map connection",
    ]


def test_of_two_steps_the_better_one_stays() -> None:
    endpoint = right()
    worse = replace(step_of(endpoint, "contact", "Update"), id="0-worse", values={**STEP, "statecode": 1})
    (action,) = plan(WANTED, [replace(endpoint, steps=(worse, *endpoint.steps))]).actions
    assert (action.verb, action.id) == ("delete", "0-worse")


def test_a_pre_image_without_columns_is_narrowed_and_a_wrong_image_is_replaced() -> None:
    (action,) = plan(WANTED, [with_images(right(), {**IMAGE, "attributes": None})]).actions
    assert (action.verb, action.values) == ("update", {"attributes": IMAGE["attributes"]})
    damaged = with_images(right(), {**IMAGE, "imagetype": 1})
    removed, made = plan(WANTED, [damaged]).actions
    assert (removed.verb, made.verb, made.parent) == ("delete", "create", step_of(damaged, "connection", "Delete").id)


def test_an_endpoint_that_posts_to_our_queue_is_ours_whoever_made_it() -> None:
    found = plan(WANTED, [right("Marketo sync queue")])
    assert is_right(found)
    assert found.endpoint
    assert found.endpoint.name == "Marketo sync queue"


def test_a_second_endpoint_to_our_queue_is_left_alone_and_reported() -> None:
    found = plan(WANTED, [right(), right("theirs")])
    assert not found.actions
    (text,) = found.attention
    assert "'theirs'" in text
    assert "msisync unregister --name theirs --apply" in text
    assert is_right(plan(WANTED, [right(), replace(right("theirs"), steps=())]))  # it posts nothing


def test_the_name_alone_does_not_make_a_second_one_post_here() -> None:
    elsewhere = replace(right(), values={**right().values, "namespaceaddress": "sb://old.servicebus.windows.net/"})
    found = plan(WANTED, [elsewhere, right("theirs")])
    assert found.endpoint
    assert found.endpoint.name == "theirs"
    assert {action.verb for action in found.actions} == {"delete"}


def test_from_queue_to_webhook_the_new_way_stands_before_the_old_one_falls() -> None:
    actions = plan(WEBHOOK_WANTED, [right()]).actions
    verbs = [action.verb for action in actions]
    assert verbs == sorted(verbs)  # create … before delete …
    assert actions[0].values["url"] == HOOK.values["url"]
    (left,) = done(WEBHOOK_WANTED, [right()]).state()
    assert left.place == HOOK.place
    assert is_right(plan(WEBHOOK_WANTED, [left]))


def test_of_two_that_post_here_the_same_one_is_ours_before_and_after_its_repair() -> None:
    many = right("others")
    many = replace(many, steps=(many.steps[0], *(replace(many.steps[0], id=f"again-{n}") for n in range(5))))
    damaged = with_step(right("theirs"), "contact", "Create", stage=20)
    assert not plan(WANTED, done(WANTED, [damaged, many]).state()).actions


def test_unregister_takes_away_what_has_our_name_and_reports_what_still_posts() -> None:
    endpoints = [right(), right("theirs")]
    found = plan_removal("msisync", WANTED.places, endpoints)
    world = World(endpoints)
    for action in found.actions:
        world.do(action)
    assert [endpoint.name for endpoint in world.state()] == ["theirs"]
    (told,) = found.attention
    assert "still posts to this app" in told
    assert not plan_removal("msisync", WANTED.places, world.state()).actions, "it goes by the name alone"
    assert is_right(plan_removal("msisync", WANTED.places, []))


# Whatever the damage.
_OVERRIDES: dict[str, list[Any]] = {
    "messageformat": [1, 2, None],
    "namespaceaddress": ["sb://old.servicebus.windows.net/", "sb://contoso-sync.servicebus.windows.net", None],
    "path": ["other", "Dynamics-Changes"],
    "saskeyname": ["RootManageSharedAccessKey"],
    "contract": [5, WEBHOOK],
    "url": ["https://elsewhere.example/hook", HOOK.values["url"]],
    "authtype": [3],
}
_STEP_OVERRIDES: dict[str, list[Any]] = {
    "stage": [10, 20],
    "mode": [0],
    "asyncautodelete": [False, None],
    "statecode": [1],
    "supporteddeployment": [1],
    "filteringattributes": [None, "", "firstname", "firstname,lastname,ownerid,priority"],
}
_IMAGE_OVERRIDES: dict[str, list[Any]] = {
    "imagetype": [1, 2], "attributes": [None, "record1id"], "entityalias": ["PreImage"],
    "messagepropertyname": ["SubordinateId"],
}  # fmt: skip
_ids = st.uuids(version=4).map(str)


def _damage(base: dict[str, Any], overrides: dict[str, list[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    one = st.sampled_from([(name, value) for name, values in overrides.items() for value in values])
    return st.lists(one, max_size=3).map(lambda chosen: {**base, **dict(chosen)})


_images = st.builds(Image, _ids, _damage(IMAGE, _IMAGE_OVERRIDES))
_steps = st.builds(
    lambda id_, key, values, images: Step(id_, "", key[0], key[1], values, tuple(images)),
    _ids,
    st.sampled_from([*STEPS, ("contact", "Delete"), ("lead", "Update"), ("", "Create"), ("contact", "Assign")]),
    _damage({**STEP, "statecode": 0, "filteringattributes": "firstname,lastname,ownerid"}, _STEP_OVERRIDES),
    st.lists(_images, max_size=2),
)
_endpoints = st.lists(
    st.builds(
        lambda id_, name, values, secret, steps: Endpoint(id_, name, values, secret, tuple(steps)),
        _ids,
        st.sampled_from(["msisync", "msisync", "theirs"]),
        _damage(dict(QUEUE.values), _OVERRIDES),
        st.booleans(),
        st.lists(_steps, max_size=6),
    ),
    max_size=3,
)
_wanted = st.sampled_from([WANTED, WEBHOOK_WANTED])
_some = settings(max_examples=50, deadline=None)


def covered(endpoints: list[Endpoint]) -> set[StepKey]:
    """What is posted here, and completely."""
    here = [endpoint for endpoint in endpoints if endpoint.place in WANTED.places and endpoint.has_secret]
    return {(s.table, s.message) for endpoint in here for s in endpoint.steps if s.enabled and _complete(s)}


def _complete(step: Step) -> bool:
    names = set(filter(None, str(step.values.get("filteringattributes") or "").split(",")))
    return (step.table, step.message) in STEPS and (not names or names >= {"firstname", "lastname", "ownerid"})


@_some
@given(_wanted, _endpoints)
def test_what_has_been_repaired_needs_no_repair(wanted: Wanted, endpoints: list[Endpoint]) -> None:
    repaired = done(wanted, endpoints).state()
    assert not plan(wanted, repaired).actions
    assert covered(repaired) >= set(STEPS)


@_some
@given(_wanted, _endpoints, st.data())
def test_the_next_run_completes_a_killed_one(wanted: Wanted, endpoints: list[Endpoint], data: st.DataObject) -> None:
    actions = plan(wanted, endpoints).actions
    left = done(wanted, endpoints, stop_after=data.draw(st.integers(0, len(actions)))).state()
    assert not plan(wanted, done(wanted, left).state()).actions


@_some
@given(_wanted, _endpoints)
def test_at_no_moment_a_new_or_enabled_step_posts_elsewhere(wanted: Wanted, endpoints: list[Endpoint]) -> None:
    world = World(endpoints)
    before = {step.id for endpoint in endpoints for step in endpoint.steps if step.enabled}
    for action in plan(wanted, endpoints).actions:
        world.do(action)
        for endpoint in world.state():
            fresh = [step for step in endpoint.steps if step.enabled and step.id not in before]
            assert not fresh or (endpoint.place == wanted.target.place and endpoint.has_secret)


@_some
@given(_wanted, _endpoints)
def test_what_is_posted_completely_is_posted_at_every_moment(wanted: Wanted, endpoints: list[Endpoint]) -> None:
    world = World(endpoints)
    at_first = covered(endpoints)
    for action in plan(wanted, endpoints).actions:
        world.do(action)
        assert covered(world.state()) >= at_first


@_some
@given(_wanted, _endpoints)
def test_other_people_s_endpoints_are_never_touched(wanted: Wanted, endpoints: list[Endpoint]) -> None:
    found = plan(wanted, endpoints)
    ours = found.endpoint.id if found.endpoint else ""
    after = done(wanted, endpoints).endpoints
    for endpoint in endpoints:
        if endpoint.name == "theirs" and endpoint.id != ours:
            assert after[endpoint.id] == endpoint
