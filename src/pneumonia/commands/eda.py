"""`./run.sh eda`: counts and figures of a competition folder, as summary.json and one page."""

from pneumonia import config, schema
from pneumonia.data.competition import resolve
from pneumonia.data.headers import check_headers, read_headers
from pneumonia.data.study_table import study_table
from pneumonia.reports.eda import build_page, open_cache, stage_1_ids, stage_1_summary, summary_of
from pneumonia.reports.readers import agreement_of, read_readings
from pneumonia.system.files import atomic_write, write_json


def eda(settings: schema.Eda) -> dict:
    """Write summary and page; return the summary with the paths of both."""
    competition = resolve(settings, needs_images=False, needs_sample=False)
    headers = read_headers(
        competition, config.user_path(settings.headers) if settings.headers else None, settings.workers
    )
    study = study_table(competition, settings.clip_boxes, headers)
    if settings.headers:
        check_headers(headers, study["patientId"], config.user_path(settings.headers))
    unmapped = competition.check_mapping(list(study["patientId"]))
    stage_1 = stage_1_ids(competition)
    summary = summary_of(study, competition.people()) | stage_1_summary(study, stage_1)
    if competition.release.readers is not None:
        readings = read_readings(competition.release.readers, competition.release.mapping)
        summary["readers"] = agreement_of(study, readings)
    name = f"{competition.name}-{competition.content_key}"
    folder = config.user_path(settings.out) if settings.out else config.REPOSITORY / "eda" / name
    write_json(folder / "summary.json", summary)
    with atomic_write(folder / "page.html") as file:
        file.write(build_page(competition, study, summary, stage_1, open_cache(competition, settings.workers)))
    print(f"{summary['images']} images, {summary['rows']} rows, {summary['boxes']} boxes, {summary['people']} people")
    print(f"summary  {folder / 'summary.json'}\npage     {folder / 'page.html'}")
    summary |= {"unmapped": unmapped.as_json() if unmapped else None}
    return summary | {"summary": folder / "summary.json", "page": folder / "page.html"}
