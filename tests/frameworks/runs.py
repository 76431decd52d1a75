"""Runs on an MLflow server, as MLflow's own client finds them.

Question: {"url", "user", "password", "experiment"}.
Answer: [{"id", "name", "status", "tags", "params", "metrics": {key: [[step, value], …]}}, …], the oldest first.
"""

import json
import os
import sys

question = json.load(sys.stdin)
os.environ["MLFLOW_TRACKING_USERNAME"] = question["user"]
os.environ["MLFLOW_TRACKING_PASSWORD"] = question["password"]

from mlflow import MlflowClient  # noqa: E402: it reads the environment when it is loaded

client = MlflowClient(tracking_uri=question["url"])
experiment = client.get_experiment_by_name(question["experiment"])
runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"]) if experiment else []
answer = [
    {
        "id": run.info.run_id,
        "name": run.info.run_name,
        "status": run.info.status,
        "tags": run.data.tags,
        "params": run.data.params,
        "metrics": {
            key: [[metric.step, metric.value] for metric in client.get_metric_history(run.info.run_id, key)]
            for key in run.data.metrics
        },
    }
    for run in runs
]
json.dump(answer, sys.stdout)
