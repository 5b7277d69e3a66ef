import pytest

from lungsliding_tf.labels import read_labels, unlisted_videos
from preprocessing.errors import InputError

HEADER = "file,patient_group,lung_sliding\n"


@pytest.fixture
def data(tmp_path):
    for name in ("a.mp4", "b.mp4", "c.avi"):
        (tmp_path / name).write_bytes(b"video")
    return tmp_path


def write(data, rows, header=HEADER):
    (data / "labels.csv").write_text(header + rows)
    return data


def test_reads_three_kinds_of_label(data):
    write(data, "a.mp4,p1,present\nb.mp4,p2,absent\nc.avi,p3,not_stated\n")
    videos = read_labels(data)
    assert [(v.file, v.patient, v.label, v.is_phantom) for v in videos] == [
        ("a.mp4", "p1", 1, False), ("b.mp4", "p2", 0, False), ("c.avi", "p3", -1, False),
    ]  # fmt: skip
    assert unlisted_videos(data, videos) == []


def test_videos_without_a_line_are_named(data):
    assert unlisted_videos(data, read_labels(write(data, "a.mp4,p1,present\n"))) == [
        "b.mp4", "c.avi",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ("no.mp4,p1,present\n", "line 2: .*no.mp4 does not exist"),
        ("a.mp4,,present\n", "line 2: patient_group is empty"),
        ("a.mp4,p1,\n", "lung_sliding is empty"),
        ("a.mp4,p1,yes\n", "lung_sliding is 'yes'; expected absent, present, not_stated"),
        ("a.mp4,p1,present\na.mp4,p2,absent\n", "names a.mp4 twice"),
        ("a.mp4,p1,present\nb.mp4,p1,absent\n", "p1 is labelled both present and absent"),
        ("../a.mp4,p1,present\n", "lies outside"),
        ("", "has no rows"),
    ],
)
def test_bad_labels_are_one_clear_line(data, rows, complaint):
    with pytest.raises(InputError, match=complaint) as error:
        read_labels(write(data, rows))
    assert "labels.csv" in str(error.value) and "\n" not in str(error.value)


def test_missing_file_and_columns_say_what_is_needed(data):
    with pytest.raises(InputError, match="columns file, patient_group, lung_sliding"):
        read_labels(data)
    with pytest.raises(InputError, match="lacks the columns patient_group"):
        read_labels(write(data, "a.mp4,present\n", "file,lung_sliding\n"))
    (data / "labels.csv").write_bytes(b"\xff\xfe\x00binary")
    with pytest.raises(InputError, match="UTF-8"):
        read_labels(data)


def test_mixed_patients_can_be_allowed(data):
    write(data, "a.mp4,p1,present\nb.mp4,p1,absent\n")
    assert len(read_labels(data, allow_mixed_patients=True)) == 2
