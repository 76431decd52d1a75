"""What clients of other servers get from ours.

Question: {"address": HOST:PORT, "model": its name, "rows": [[number, …], …], "columns": their names}.
Answer: by client, what it was told.
"""

import json
import sys

import numpy as np
import requests
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

question = json.load(sys.stdin)
address, name, rows = question["address"], question["model"], question["rows"]
matrix = np.array(rows, dtype=np.float32)


def by_triton():
    client = triton.InferenceServerClient(address)
    matrices = [triton.InferInput("input", matrix.shape, "FP32")]
    matrices[0].set_data_from_numpy(matrix, binary_data=False)
    wanted = [triton.InferRequestedOutput(output, binary_data=False) for output in ("output", "label")]
    result = client.infer(name, matrices, outputs=wanted, request_id="seven")
    later = client.async_infer(name, matrices, outputs=wanted[:1]).get_result()
    columns = []
    for index, column in enumerate(question["columns"]):
        columns.append(triton.InferInput(column, [len(rows)], "FP64"))
        columns[index].set_data_from_numpy(matrix[:, index].astype(np.float64), binary_data=False)
    of_columns = client.infer(name, columns, outputs=wanted[:1])
    binary = triton.InferInput("input", matrix.shape, "FP32")
    binary.set_data_from_numpy(matrix, binary_data=True)
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "modelReady": client.is_model_ready(name),
        "otherReady": client.is_model_ready("nobody"),
        "server": client.get_server_metadata(),
        "metadata": client.get_model_metadata(name),
        "id": result.get_response()["id"],
        "outputs": result.as_numpy("output").tolist(),
        "labels": result.get_output("label")["data"],
        "later": later.as_numpy("output").tolist(),
        # As its users write it, who say nothing of binary tensors.
        "plain": client.infer(name, matrices).as_numpy("output").tolist(),
        "ofColumns": of_columns.as_numpy("output").tolist(),
        "binary": refusal(lambda: client.infer(name, [binary], outputs=wanted)),
        "wrongWidth": refusal(lambda: client.infer(name, [narrow()], outputs=wanted)),
    }


def narrow():
    tensor = triton.InferInput("input", [1, 1], "FP32")
    tensor.set_data_from_numpy(matrix[:1, :1], binary_data=False)
    return tensor


def refusal(ask):
    try:
        return {"answered": ask().get_response()}
    except InferenceServerException as error:
        return {"status": error.status(), "message": error.message()}


def by_tensorflow_serving():
    url = f"http://{address}/v1/models/{name}"
    session = requests.Session()

    def predict(body):
        answer = session.post(f"{url}:predict", json=body, timeout=60)
        return {"status": answer.status_code, "body": answer.json()}

    named = [dict(zip(question["columns"], row)) for row in rows]
    columns = {column: [[row[index]] for row in rows] for index, column in enumerate(question["columns"])}
    return {
        "status": session.get(url, timeout=60).json(),
        "metadata": session.get(f"{url}/metadata", timeout=60).json(),
        "rows": predict({"signature_name": "serving_default", "instances": rows}),
        "named": predict({"instances": named}),
        "inputs": predict({"inputs": rows}),
        "columns": predict({"inputs": columns}),
        "signature": predict({"signature_name": "other", "instances": rows}),
        "missing": session.get(f"http://{address}/v1/models/nobody", timeout=60).status_code,
    }


json.dump({"triton": by_triton(), "tensorflowServing": by_tensorflow_serving()}, sys.stdout)
