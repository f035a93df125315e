"""`./run.sh leaderboard`: every submission made here."""

import json

from pneumonia import schema
from pneumonia.ensemble import leaderboard as board
from pneumonia.ensemble.looks import final_scores_of


def leaderboard(settings: schema.Leaderboard) -> dict:
    """Print and return the table, best nested score first within each dataset.

    `final` is the score on the final test labels, `looks` how many submissions of the same family were scored on them;
    private and public are Kaggle's.
    """
    rows = board.sort_by_score(board.read_table(board.TABLE))
    if not rows:
        print("no submission yet: ./run.sh fold=0 or ./run.sh ensemble makes one")
    finals = final_scores_of(rows)
    for data in dict.fromkeys(row["data"] for row in rows):
        print(
            f"{data}\n  {'nested':7s} {'95 % interval':17s} {'fitted':7s} {'final':7s} looks "
            f"{'private':7s} {'public':7s} {'images':>6s}  date        submission"
        )
        for row, final in zip(rows, finals):
            if row["data"] != data:
                continue
            interval = f"{board.score_text(row['low'])} - {board.score_text(row['high'])}"
            scores = {
                name: board.score_text(value) for name, value in {**row, **final.scores}.items() if "score" in name
            }
            print(
                f"  {scores['nested_score']:7s} {interval:17s} {scores['fitted_score']:7s} {scores['final_score']:7s} "
                f"{final.looks:5d} {scores.get('private_score', '-'):7s} {scores.get('public_score', '-'):7s} "
                f"{row['images']:>6s}  {row['date'][:10]}  {row['submission']}"
            )
            for name, gain in json.loads(row["members"]).items():
                print(f"  {'':70s}  {name}{'' if gain is None else f' adds {gain:+.4f}'}")
    submissions = [
        row | {"members": json.loads(row["members"]), **final.scores, "final_looks": final.looks}
        for row, final in zip(rows, finals)
    ]
    return {"leaderboard": board.TABLE, "submissions": submissions}
