from uuid import uuid4

import httpx
import pytest


@pytest.fixture
def token() -> str:
    return f"token-{uuid4()}"


def _ask(model_url: str, question: str) -> httpx.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": question}]}
    return httpx.post(f"{model_url}/v1/chat/completions", json=body, timeout=5)


def _tell(model_url: str, *behaviours: dict[str, object]) -> None:
    httpx.put(f"{model_url}/control", json=behaviours).raise_for_status()


def test_it_fails_as_often_as_it_is_told(model_url: str, token: str) -> None:
    _tell(model_url, {"match": token, "do": "error", "status": 500, "times": 2})

    statuses = [_ask(model_url, f"hello {token}").status_code for _ in range(3)]

    assert statuses == [500, 500, 200]


def test_behaviours_follow_each_other_in_the_order_told(model_url: str, token: str) -> None:
    _tell(
        model_url,
        {"match": token, "do": "error", "status": 429, "times": 1},
        {"match": token, "do": "error", "status": 503, "times": 1},
    )

    statuses = [_ask(model_url, token).status_code for _ in range(3)]

    assert statuses == [429, 503, 200]


def test_other_questions_are_not_disturbed(model_url: str, token: str) -> None:
    _tell(model_url, {"match": token, "do": "error"})

    assert _ask(model_url, "something else").status_code == 200


def test_it_fails_for_ever_until_told_to_forget(model_url: str, token: str) -> None:
    _tell(model_url, {"match": token, "do": "error"})
    assert {_ask(model_url, token).status_code for _ in range(5)} == {500}

    httpx.delete(f"{model_url}/control", params={"match": token})

    assert _ask(model_url, token).status_code == 200


def test_a_question_says_itself_how_often_it_fails(model_url: str, token: str) -> None:
    question = f"{token} [[demo do=error status=429 times=1]]"

    statuses = [_ask(model_url, question).status_code for _ in range(2)]

    assert statuses == [429, 200]


def test_a_text_of_the_tests_choice_is_answered(model_url: str, token: str) -> None:
    _tell(model_url, {"match": token, "text": " two  words\n"})

    answered = _ask(model_url, token).json()["choices"][0]["message"]["content"]

    assert answered == " two  words\n"


def test_requests_are_counted_by_question(model_url: str, token: str) -> None:
    for _ in range(3):
        _ask(model_url, f"how often? {token}")

    asked = httpx.get(f"{model_url}/requests", params={"match": token}).json()

    assert asked["count"] == 3
    assert asked["requests"][0]["question"] == f"how often? {token}"
    assert asked["requests"][0]["outcome"] == "answered"


def test_a_hanging_model_notices_that_its_client_left(model_url: str, token: str) -> None:
    _tell(model_url, {"match": token, "do": "hang"})
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": token}]}

    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{model_url}/v1/chat/completions", json=body, timeout=0.2)

    def outcome() -> str:
        asked = httpx.get(f"{model_url}/requests", params={"match": token}).json()
        return str(asked["requests"][0]["outcome"])

    for _ in range(50):
        if outcome() == "client_gone":
            break
    assert outcome() == "client_gone"


def test_a_behaviour_that_is_none_is_refused(model_url: str) -> None:
    response = httpx.put(f"{model_url}/control", json=[{"do": "dance"}])

    assert response.status_code == 422


def test_it_says_that_it_is_healthy(model_url: str) -> None:
    assert httpx.get(f"{model_url}/health").json() == {"status": "ok"}


def test_an_unknown_path_is_no_answer(model_url: str) -> None:
    assert httpx.get(f"{model_url}/nope").status_code == 404
