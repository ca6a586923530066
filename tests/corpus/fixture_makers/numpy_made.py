"""Arrays by NumPy, and what scikit-learn and joblib pickle."""

# mypy: disable-error-code="import-not-found, import-untyped"
from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import joblib
import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

WORDS: Final = ["a small red fox", "a large grey fox", "two small hens", "two large hens"]
NUMBERS: Final = np.arange(12, dtype=np.float64).reshape(4, 3)
LABELS: Final = np.array([0, 1, 0, 1])


def _npy(folder: Path) -> None:
    fields = np.dtype([("weight", "<f4", (2,)), ("name", "U8"), ("inner", [("a", "<i2"), ("b", "?")])])
    np.save(folder / "float32.npy", NUMBERS.astype(np.float32))
    np.save(folder / "fortran.npy", np.asfortranarray(NUMBERS))
    np.save(folder / "big-endian.npy", NUMBERS.astype(">f8"))
    np.save(folder / "scalar.npy", np.array(3.5))
    np.save(folder / "empty.npy", np.zeros((0, 4)))
    np.save(folder / "text.npy", np.array(["weights", "größe"]))
    np.save(folder / "bytes.npy", np.array([b"a", b"bc"]))
    np.save(folder / "structured.npy", np.zeros(3, dtype=fields))
    np.save(folder / "dates.npy", np.array(["2026-01-01"], dtype="datetime64[D]"))
    np.save(folder / "complex.npy", np.array([1 + 2j]))
    np.save(folder / "many-fields.npy", np.zeros(1, dtype=[(f"field_{i:05}", "<f4") for i in range(4000)]))


def _npz(folder: Path) -> None:
    np.savez(folder / "plain.npz", mean=NUMBERS, std=NUMBERS.astype(np.float16))
    np.savez_compressed(folder / "compressed.npz", mean=NUMBERS, names=np.array(["a", "b"]))


def _pickled(value: Any, protocol: int) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / "stats.pkl").write_bytes(pickle.dumps(value, protocol))

    return make


def _objects(folder: Path) -> None:
    np.save(folder / "names.npy", np.array(["a", None, 3], dtype=object), allow_pickle=True)


def _estimator(folder: Path) -> None:
    (folder / "model.pkl").write_bytes(pickle.dumps(LogisticRegression().fit(NUMBERS, LABELS)))


def _forest(folder: Path) -> None:
    joblib.dump(RandomForestClassifier(n_estimators=3, random_state=0).fit(NUMBERS, LABELS), folder / "model.joblib")


def _pipeline(folder: Path) -> None:
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(WORDS, LABELS)
    joblib.dump(pipeline, folder / "model.joblib", compress=3)


def _scaler(folder: Path) -> None:
    joblib.dump(StandardScaler().fit(NUMBERS), folder / "scaler.pkl", compress=("xz", 6))


def _joblib(compress: Any) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        joblib.dump(
            {"mean": NUMBERS, "names": ["a", "b"], "labels": LABELS}, folder / "stats.joblib", compress=compress
        )

    return make


MAKERS: Final[dict[str, Callable[[Path], None]]] = {
    "numpy-npy": _npy,
    "numpy-npz": _npz,
    "numpy-objects": _objects,
    "numpy-pickle-2": _pickled({"mean": NUMBERS, "count": np.int64(12)}, 2),
    "numpy-pickle-4": _pickled({"mean": NUMBERS, "scale": np.float32(0.5)}, 4),
    "numpy-pickle-5": _pickled([NUMBERS, NUMBERS.T], 5),
    "sklearn-pickle": _estimator,
    "sklearn-forest": _forest,
    "sklearn-pipeline": _pipeline,
    "sklearn-scaler-xz": _scaler,
    "joblib-arrays": _joblib(0),
    "joblib-arrays-zlib": _joblib(3),
    "joblib-arrays-gzip": _joblib("gzip"),
}
