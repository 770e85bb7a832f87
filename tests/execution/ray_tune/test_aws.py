"""What `ray up cluster/gpu.yaml` rents: Ray's own AWS provider against moto's EC2, and the requests it makes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from ray.autoscaler._private.aws.config import bootstrap_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.tags import TAG_RAY_NODE_KIND, TAG_RAY_USER_NODE_TYPE

from tests.execution.ray_tune.test_cluster_config import filled

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning", "ignore:Could not find AMI")


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """The parameters of the RunInstances request of the head and of each worker type, and the ports opened."""
    home = tmp_path_factory.mktemp("home")
    (home / ".ssh").mkdir()
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("HOME", str(home))
        boto3.setup_default_session(region_name="us-west-2")
        requests: list[dict[str, Any]] = []
        assert boto3.DEFAULT_SESSION is not None
        boto3.DEFAULT_SESSION.events.register(
            "provide-client-params.ec2.RunInstances", lambda params, **_: requests.append(copy.deepcopy(params))
        )
        boto3.client("iam").create_instance_profile(InstanceProfileName="rdstudy")
        config = prepare_config(filled("gpu.yaml", home))
        validate_config(config)
        config = bootstrap_aws(config)
        provider = AWSNodeProvider(config["provider"], config["cluster_name"])
        found = {}
        for name, kind in config["available_node_types"].items():
            node = "head" if name == config["head_node_type"] else "worker"
            provider.create_node(kind["node_config"], {TAG_RAY_NODE_KIND: node, TAG_RAY_USER_NODE_TYPE: name}, 1)
            found[name] = requests.pop()
        groups = boto3.client("ec2").describe_security_groups()["SecurityGroups"]
        found["ports"] = {
            "open": [
                rule.get("FromPort")
                for group in groups
                if group["GroupName"].startswith("ray-")
                for rule in group["IpPermissions"]
                if rule["IpRanges"]
            ]
        }
        yield found
    boto3.DEFAULT_SESSION = None


def test_the_head_is_on_demand_and_the_workers_are_spot_with_a_fallback(launched):
    assert launched["head"]["InstanceType"] == "m7i.large"
    assert "InstanceMarketOptions" not in launched["head"]
    assert launched["gpu_spot"]["InstanceType"] == "g5.xlarge"
    assert launched["gpu_spot"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert launched["gpu_on_demand"]["InstanceType"] == "g5.xlarge"
    assert "InstanceMarketOptions" not in launched["gpu_on_demand"]


def test_every_machine_has_an_image_a_role_and_room_for_the_environment(launched):
    for name in ("head", "gpu_spot", "gpu_on_demand"):
        request = launched[name]
        assert request["ImageId"].startswith("ami-")
        assert request["IamInstanceProfile"] == {"Name": "rdstudy"}
        assert request["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] >= 100
        assert request["MinCount"] == request["MaxCount"] == 1


def test_only_ssh_is_open_to_the_world(launched):
    assert launched["ports"]["open"] == [22]


def test_machines_are_rented_in_any_of_the_zones(tmp_path: Path):
    assert filled("gpu.yaml", tmp_path)["provider"]["availability_zone"].count(",") == 2
