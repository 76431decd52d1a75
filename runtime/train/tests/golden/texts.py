# Writes texts.json: the words of texts, their vocabulary and their integers, as scikit-learn's CountVectorizer has them.
#   pip install scikit-learn==1.7.2 && python texts.py
import csv
import json
import pathlib

from sklearn.feature_extraction.text import CountVectorizer

here = pathlib.Path(__file__).parent
length, vocabulary = 12, 120

with open(here / "../../../../examples/sentiment/data/messages.csv", encoding="utf-8", newline="") as file:
    messages = [row["message"] for row in csv.DictReader(file)][:150]
texts = messages + [
    "It's a FINE film, isn't it?",
    "'quoted' words, don\u2019t and rock'n'roll '' '",
    "snake_case, kebab-case; 4.5 stars\nand\ta new line",
    "\u00c4RGER \u00dcBER Stra\u00dfen, \u0416\u0418\u0417\u041d\u042c, \u039f\u0394\u039f\u03a3 \u6620\u753b caf\u00e9 \u0130stanbul",
    "\u2026 ?! :-) \U0001f4a5",
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen",
]
split = CountVectorizer(
    preprocessor=lambda text: text.lower().replace("\u2019", "'"), token_pattern=r"[^\W_]+(?:'+[^\W_]+)*"
).build_analyzer()
counter = CountVectorizer(analyzer=lambda text: split(text)[:length])
counts = counter.fit_transform(texts).sum(axis=0).A1
order = sorted(counter.vocabulary_, key=lambda word: (-counts[counter.vocabulary_[word]], word))
words = order[: vocabulary - 2]
place = {word: index + 2 for index, word in enumerate(words)}


def integers(text):
    known = [place.get(word, 1) for word in split(text)[:length]]
    return [0] * (length - len(known)) + known


def line(value):
    return json.dumps(value, ensure_ascii=False)


cases = [{"text": text, "words": split(text), "integers": integers(text)} for text in texts]
(here / "texts.json").write_text(
    f'{{"length": {length}, "vocabulary": {vocabulary}, "different": {len(order)},\n"words": {line(words)},\n"texts": [\n'
    + ",\n".join(map(line, cases))
    + "\n]}\n",
    encoding="utf-8",
)
