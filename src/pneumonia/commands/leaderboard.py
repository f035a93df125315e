"""`./run.sh leaderboard`: every submission made here."""

import json

from pneumonia import schema
from pneumonia.ensemble import leaderboard as board


def leaderboard(settings: schema.Leaderboard) -> dict:
    """Print and return the table, best nested score first within each dataset; private and public are Kaggle's."""
    rows = board.sort_by_score(board.read_table(board.TABLE))
    if not rows:
        print("no submission yet: ./run.sh fold=0 or ./run.sh ensemble makes one")
    for data in dict.fromkeys(row["data"] for row in rows):
        print(
            f"{data}\n  {'nested':7s} {'95 % interval':17s} {'fitted':7s} {'private':7s} {'public':7s} {'images':>6s}  "
            "date        submission"
        )
        for row in (row for row in rows if row["data"] == data):
            interval = f"{board.score_text(row['low'])} - {board.score_text(row['high'])}"
            nested, fitted = board.score_text(row["nested_score"]), board.score_text(row["fitted_score"])
            private, public = (board.score_text(row.get(name)) for name in ("private_score", "public_score"))
            print(
                f"  {nested:7s} {interval:17s} {fitted:7s} {private:7s} {public:7s} {row['images']:>6s}  "
                f"{row['date'][:10]}  {row['submission']}"
            )
            for name, gain in json.loads(row["members"]).items():
                print(f"  {'':56s}  {name}{'' if gain is None else f' adds {gain:+.4f}'}")
    return {"leaderboard": board.TABLE, "submissions": [row | {"members": json.loads(row["members"])} for row in rows]}
