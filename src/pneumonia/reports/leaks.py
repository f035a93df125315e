"""What the main job's pages say of people: whether they are known, and whether somebody is held out and in training."""


def people_text(result: dict) -> str:
    """How many people the held-out images are of. result: the main job's JSON."""
    if result["leaking_people"] is None:
        return "unknown people"
    return f"{result['people_held_out']} people"


def leak_text(result: dict) -> str:
    leaking = result["leaking_people"]
    if leaking is None:
        return "without a table of people somebody may be both held out and in training, and scores come out too high"
    if leaking:
        return f"{leaking} people are in more than one part of the split, and scores come out too high"
    return "nobody is both held out and in training"


def unit_of(result: dict) -> str:
    """What intervals are over: images, where no table says who is on them."""
    return "images" if result["leaking_people"] is None else "people"
