"""The queues of the workers stack's own template, in moto."""

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]  # untyped

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

TEMPLATE = Path(__file__).parents[3] / "stacks" / "workers" / "template.yaml"

type Body = dict[str, object]


class Queues:
    def __init__(
        self, sqs: "SQSClient", agent_url: str, crowded_url: str, parking_url: str
    ) -> None:
        self.sqs = sqs
        self.agent_url = agent_url
        self.crowded_url = crowded_url
        self.parking_url = parking_url

    def asked(self) -> list[Body]:
        return self._bodies(self.agent_url)

    def delayed(self) -> int:
        """How many messages nobody sees yet."""
        answer = self.sqs.get_queue_attributes(
            QueueUrl=self.agent_url, AttributeNames=["ApproximateNumberOfMessagesDelayed"]
        )
        return int(answer["Attributes"]["ApproximateNumberOfMessagesDelayed"])

    def parked(self) -> list[Body]:
        return self._bodies(self.parking_url)

    def crowded(self) -> list[Body]:
        return self._bodies(self.crowded_url)

    def groups(self, url: str | None = None) -> list[str | None]:
        """The message groups of the questions that wait, in the agent's queue or in another."""
        answer = self.sqs.receive_message(
            QueueUrl=url or self.agent_url,
            MaxNumberOfMessages=10,
            MessageSystemAttributeNames=["MessageGroupId"],
        )
        return [
            message["Attributes"].get("MessageGroupId") for message in answer.get("Messages", [])
        ]

    def _bodies(self, url: str) -> list[Body]:
        answer = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]


@cache
def _template() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml_parse(TEMPLATE.read_text())
    return parsed


def deploy_queues() -> Queues:
    """Of the template nothing but the queues: the rest is not moto's to deploy."""
    template = _template()
    queues = {
        name: resource
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::SQS::Queue"
    }
    cut = {
        "Parameters": {name: template["Parameters"][name] for name in ("Stage", "KeyArn")},
        "Conditions": {"HasKey": template["Conditions"]["HasKey"]},
        "Resources": queues,
        "Outputs": {
            name: {"Value": {"Ref": name}}
            for name in ("AgentQueue", "AgentCrowdedQueue", "DispatcherParkingQueue")
        },
    }
    cloudformation = boto3.client("cloudformation")
    cloudformation.create_stack(
        StackName="chat-test-workers",
        TemplateBody=json.dumps(cut),
        Parameters=[{"ParameterKey": "Stage", "ParameterValue": "test"}],
    )
    (stack,) = cloudformation.describe_stacks(StackName="chat-test-workers")["Stacks"]
    urls = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
    return Queues(
        boto3.client("sqs"),
        urls["AgentQueue"],
        urls["AgentCrowdedQueue"],
        urls["DispatcherParkingQueue"],
    )
