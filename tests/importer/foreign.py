"""Collections as they are published, in small: each function writes one into a folder."""

import json
import pickle

from tests.importer.writers import write_classes, write_pictures, write_table, write_text

SPECIES = ("Ardea alba", "Buteo buteo", "Corvus corax")
ANIMALS = ("bird", "cat", "dog")
WORDNET = ("n01440764", "n01443537", "n01484850")
BEETLES = ("Acanthascinae", "Bathochordaeus", "Benthocodon")


def write_json(path, value) -> None:
    write_text(path, json.dumps(value))


def write_lines(path, lines) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))


def coco(root, name, files, categories, *, key="id", **fields) -> None:
    """Write a JSON file of pictures that belong to the categories in turn."""
    write_pictures(root, files)
    images = [{key if key == "image_id" else "id": n, "file_name": f} for n, f in enumerate(files)]
    annotations = [
        {
            "id": n,
            "image_id": n,
            "category_id": categories[n % len(categories)].get("id", n % len(categories)),
            **fields,
        }
        for n in range(len(files))
    ]
    value = {"images": images, "annotations": annotations, "categories": categories}
    write_json(root / name, value)


# --- JSON of contests -----------------------------------------------------------------------------


def inaturalist_2017(root):  # boxes for a part in a file of their own, and an unsorted test set
    taxa = [{"id": n, "name": name, "supercategory": "Aves"} for n, name in enumerate(SPECIES)]
    for split, count in (("train", 30), ("val", 9)):
        files = [f"train_val_images/Aves/{SPECIES[n % 3]}/{split}{n}.jpg" for n in range(count)]
        coco(root, f"{split}2017.json", files, taxa)
    files = [f"train_val_images/Aves/{SPECIES[n % 3]}/train{n}.jpg" for n in range(30)]
    coco(root, "train_2017_bboxes.json", files, taxa, bbox=[1, 1, 3, 3])
    write_json(root / "test2017.json", {"images": [{"id": 1, "file_name": "test2017/a.jpg"}]})
    write_pictures(root, ["test2017/a.jpg"])


def inaturalist_2018(root):  # the names of the numbered species came later
    taxa = [{"id": n, "name": str(n), "supercategory": "Aves"} for n in range(3)]
    for split, count in (("train", 30), ("val", 9)):
        files = [f"train_val2018/Aves/{n % 3}/{split}{n}.jpg" for n in range(count)]
        coco(root, f"{split}2018.json", files, taxa)
    names = [{"id": n, "name": name, "genus": name.split()[0]} for n, name in enumerate(SPECIES)]
    write_json(root / "categories.json", names)


def inaturalist_2021(root):  # a small training set next to the large one
    taxa = [{"id": n, "name": name, "genus": name.split()[0]} for n, name in enumerate(SPECIES)]
    for split, count in (("train", 30), ("train_mini", 6), ("val", 9)):
        files = [f"{split}/{n % 3:05d}_{SPECIES[n % 3]}/{n}.jpg" for n in range(count)]
        coco(root, f"{split}.json", files, taxa)


def herbarium_2022(root):  # fields under other names
    taxa = [
        {"category_id": n, "scientificName": name, "genus": name.split()[0]}
        for n, name in enumerate(SPECIES)
    ]
    files = [f"train_images/000/0{n % 3}/0000{n % 3}__{n:03d}.jpg" for n in range(30)]
    coco(root, "train_metadata.json", files, taxa, key="image_id")
    write_json(root / "test_metadata.json", [{"image_id": "0", "file_name": "000/test-0.jpg"}])


def roboflow_coco(root):  # one file name for all sets, in a folder for each
    kinds = [{"id": n, "name": name} for n, name in enumerate(ANIMALS)]
    for split, count in (("train", 30), ("valid", 9), ("test", 9)):
        files = [f"img{n}_jpg.rf.{split}.jpg" for n in range(count)]
        coco(root / split, "_annotations.coco.json", files, kinds, bbox=[1, 1, 5, 5])


# --- folders --------------------------------------------------------------------------------------


def tiny_imagenet(root):  # the labels of val are in a list with boxes
    for name in WORDNET:
        write_pictures(root / "train" / name / "images", [f"{name}_{n}.JPEG" for n in range(10)])
    write_pictures(root / "val" / "images", [f"val_{n}.JPEG" for n in range(9)])
    lines = [f"val_{n}.JPEG\t{WORDNET[n % 3]}\t0\t32\t44\t62" for n in range(9)]
    write_lines(root / "val" / "val_annotations.txt", lines)


def ilsvrc_with_a_list_of_val(root):  # Caffe's val.txt: not the whole collection
    write_classes(root / "train", WORDNET, 10, ".JPEG")
    write_pictures(root / "val", [f"ILSVRC2012_val_{n:08d}.JPEG" for n in range(6)])
    write_lines(root / "val.txt", [f"ILSVRC2012_val_{n:08d}.JPEG {n % 3}" for n in range(6)])


def new_plant_diseases(root):  # an unsorted test set next to the folder of the others
    inner = root / "New Plant Diseases Dataset(Augmented)" / "New Plant Diseases Dataset(Augmented)"
    write_classes(inner / "train", ("Apple___scab", "Apple___healthy"), 16)
    write_classes(inner / "valid", ("Apple___scab", "Apple___healthy"), 6)
    write_pictures(root / "test" / "test", ["AppleScab1.JPG", "AppleHealthy1.JPG"])


# --- tables ---------------------------------------------------------------------------------------


def gbif_archive(root):  # Darwin Core: the species under its scientific name
    write_pictures(root / "images", [f"{1000 + n}.jpg" for n in range(30)])
    rows = [[1000 + n, SPECIES[n % 3], f"F{n % 3}", "Aves"] for n in range(30)]
    write_table(
        root / "occurrence.txt", ["gbifID", "scientificName", "family", "class"], rows, "\t"
    )


def stations(root):  # too few of them for six splits
    write_pictures(root, [f"cam{n % 5}/IMG_{n:04d}.JPG" for n in range(45)])
    rows = [[f"cam{n % 5}/IMG_{n:04d}.JPG", ANIMALS[n % 3], f"cam{n % 5}"] for n in range(45)]
    write_table(root / "labels.csv", ["file", "species", "station"], rows)


def eyes(root):  # the left and the right one of a patient, without a column for the patient
    names = [f"{n}_{side}" for n in range(24) for side in ("left", "right")]
    write_pictures(root / "train", [f"{name}.jpeg" for name in names])
    rows = [[name, n % 3] for n, name in enumerate(names)]
    write_table(root / "trainLabels.csv", ["image", "level"], rows)


def idrid(root):  # sets in folders with letters in front, whose pictures have the same names
    top = root / "B. Disease Grading"
    for letter, split, count in (("a", "Training", 30), ("b", "Testing", 9)):
        names = [f"IDRiD_{n:03d}" for n in range(count)]
        folder = top / "1. Original Images" / f"{letter}. {split} Set"
        write_pictures(folder, [f"{name}.jpg" for name in names])
        table = top / "2. Groundtruths" / f"{letter}. IDRiD_Disease Grading_{split} Labels.csv"
        rows = [[name, n % 3, ""] for n, name in enumerate(names)]
        write_table(table, ["Image name", "Retinopathy grade", ""], rows)


def places_without_sequences(root):  # fields without a value
    kinds = [{"id": n, "name": name} for n, name in enumerate(ANIMALS)]
    files = [f"site{n % 10}/{n}.jpg" for n in range(30)]
    coco(root, "x.json", files, kinds, bbox=None)
    value = json.loads((root / "x.json").read_text())
    for image in value["images"]:
        image |= {"location": image["file_name"].split("/")[0], "seq_id": None}
    write_json(root / "x.json", value)


def boxes_in_rows(root):  # several rows per picture
    write_pictures(root, [f"{n}.jpg" for n in range(20)])
    rows = [[f"{n % 20}.jpg", ANIMALS[n % 3], n // 20, 1, 4, 5] for n in range(40)]
    write_table(root / "boxes.csv", ["filename", "class", "x", "y", "w", "h"], rows)


def parts_and_outlines(root):  # HAM10000, whose table has no suffix
    names = [f"ISIC_{n:07d}" for n in range(48)]
    for part in range(2):
        folder = root / f"HAM10000_images_part_{part + 1}"
        write_pictures(folder, [f"{name}.jpg" for name in names[part::2]])
    outlines = [f"{name}_segmentation.png" for name in names]
    write_pictures(root / "HAM10000_segmentations_lesion_tschandl", outlines)
    rows = [[f"HAM_{n // 2}", name, ANIMALS[n // 2 % 3]] for n, name in enumerate(names)]
    write_table(root / "HAM10000_metadata", ["lesion_id", "image_id", "dx"], rows)


def boxes_of_a_part(root):  # Caltech Camera Traps: the boxes are those of some pictures
    kinds = [{"id": n, "name": name} for n, name in enumerate(ANIMALS)]
    coco(root, "caltech_images_2021.json", [f"{n}.jpg" for n in range(30)], kinds)
    coco(root, "caltech_bboxes_2020.json", [f"{n}.jpg" for n in range(9)], kinds, bbox=[1, 1, 5, 5])


def sets_of_new_places(root):  # ECCV 18: two sets for val and test, one for train
    kinds = [{"id": n, "name": name} for n, name in enumerate(ANIMALS)]
    for split in ("train", "cis_val", "cis_test", "trans_val", "trans_test"):
        files = [f"images/{split}{n}.jpg" for n in range(30 if split == "train" else 9)]
        coco(root, f"{split}_annotations.json", files, kinds)


def small_training_set(root):  # iNaturalist 2021, mini
    for split, count in (("train_mini", 10), ("val", 3)):
        names = [f"{n:05d}_{name}/{k}.jpg" for n, name in enumerate(ANIMALS) for k in range(count)]
        write_pictures(root / split, [f"{name[:-4]}{split}.jpg" for name in names])


def places365(root):  # paths begin with a slash, and some classes are two folders deep
    kinds = ["/a/airfield", "/b/bazaar/indoor", "/b/bazaar/outdoor", "/c/cafe"]
    train = [(f"{kind}/{n:08d}.jpg", number) for number, kind in enumerate(kinds) for n in range(9)]
    val = [(f"Places365_val_{n:08d}.jpg", n % 4) for n in range(12)]
    write_pictures(root / "data_256", [path[1:] for path, _ in train])
    write_pictures(root / "val_256", [path for path, _ in val])
    for name, lines in (("train_standard", train), ("val", val)):
        write_lines(root / f"places365_{name}.txt", [f"{path} {label}" for path, label in lines])


def altered_versions(root):  # Roboflow, with three versions of each picture for training
    for split, count, versions in (("train", 6, 3), ("test", 6, 1)):
        for name in ANIMALS:
            names = [f"{split}{n}_jpg.rf.{k:032x}.jpg" for n in range(count)
                     for k in range(versions)]  # fmt: skip
            write_pictures(root / split / name, names)


READ = {
    altered_versions: ({"train": 54, "test": 18}, dict.fromkeys(ANIMALS, 24)),
    places365: ({}, dict.fromkeys("0123", 9)),
    boxes_of_a_part: ({}, dict.fromkeys(ANIMALS, 10)),
    sets_of_new_places: ({}, dict.fromkeys(ANIMALS, 10)),
    small_training_set: (
        {"train": 30, "test": 9},
        {"00000_bird": 13, "00001_cat": 13, "00002_dog": 13},
    ),
    inaturalist_2017: ({"train": 30, "test": 9}, dict.fromkeys(SPECIES, 13)),
    inaturalist_2018: ({"train": 30, "test": 9}, dict.fromkeys(SPECIES, 13)),
    inaturalist_2021: ({"train": 30, "test": 9}, dict.fromkeys(SPECIES, 13)),
    herbarium_2022: ({}, dict.fromkeys(SPECIES, 10)),
    roboflow_coco: ({"train": 30, "val": 9, "test": 9}, dict.fromkeys(ANIMALS, 16)),
    tiny_imagenet: ({}, dict.fromkeys(WORDNET, 10)),
    ilsvrc_with_a_list_of_val: ({}, dict.fromkeys(WORDNET, 10)),
    new_plant_diseases: ({"train": 32, "test": 12}, {"Apple___healthy": 22, "Apple___scab": 22}),
    gbif_archive: ({}, dict.fromkeys(SPECIES, 10)),
    stations: ({}, dict.fromkeys(ANIMALS, 15)),
    eyes: ({}, {"0": 16, "1": 16, "2": 16}),
    idrid: ({"train": 30, "test": 9}, {"0": 13, "1": 13, "2": 13}),
    places_without_sequences: ({}, dict.fromkeys(ANIMALS, 10)),
    parts_and_outlines: ({}, dict.fromkeys(ANIMALS, 16)),
    boxes_in_rows: ({}, {"bird": 14, "cat": 13, "dog": 13}),
}
"""What is read: the number of samples of each official set, and of each class."""


# --- refused --------------------------------------------------------------------------------------


def cameras(root):
    write_classes(root, ("cam0", "cam1", "cam2"), 8)


def patients_in_sets(root):  # their table is missing
    for split, first, count in (("train", 0, 8), ("valid", 8, 4)):
        for patient in range(first, first + count):
            folder = root / split / f"patient{patient:05d}" / "study1"
            write_pictures(folder, ["view1_frontal.jpg", "view2_lateral.jpg"])


def numbers_of_two_things(root):  # Camelyon 17
    for n in range(6):
        write_pictures(root / "patches" / f"patient_{n:03d}_node_{n % 3}", ["1.png", "2.png"])


def parts(root):
    for part in ("HAM10000_images_part_1", "HAM10000_images_part_2", "HAM10000_segmentations_x"):
        write_pictures(root / part, [f"{part[:12]}{n}.jpg" for n in range(8)])


def nights(root):
    write_classes(root, ("2021-05-01", "2021-05-02", "2021-06-11"), 8)


def yolo(root):
    for split in ("train", "valid"):
        write_pictures(root / split / "images", [f"{n}.jpg" for n in range(6)])
        for n in range(6):
            write_text(root / split / "labels" / f"{n}.txt", "0 0.5 0.5 0.4 0.4\n")
    write_text(root / "data.yaml", "train: ../train/images\nnc: 2\nnames: [cat, dog]\n")


def pascal_voc(root):
    write_pictures(root / "VOC2007" / "JPEGImages", [f"{n:06d}.jpg" for n in range(6)])
    write_pictures(root / "VOC2007" / "SegmentationClass", [f"{n:06d}.png" for n in range(3)])
    text = "<annotation><object><name>cat</name></object></annotation>"
    write_text(root / "VOC2007" / "Annotations" / "000000.xml", text)


def sets_in_names(root):  # Stanford Online Products: no classes called train and test
    write_pictures(
        root / "bicycle_final", [f"{s}{n}.JPG" for s in ("train", "test") for n in range(9)]
    )


def emnist(root):
    for part in ("train", "test"):
        for kind in ("images-idx3", "labels-idx1"):
            write_text(root / f"emnist-letters-{part}-{kind}-ubyte.gz", "x")


def via(root):
    write_pictures(root, ["a.jpg", "b.jpg"])
    entries = {f"{name}.jpg100": {"filename": f"{name}.jpg", "regions": []} for name in "ab"}
    write_json(root / "via_region_data.json", entries)


def labelme(root):
    write_pictures(root, ["a.jpg", "b.jpg"])
    write_json(root / "a.json", {"shapes": [], "imagePath": "a.jpg", "imageData": None})


def darwin(root):
    write_pictures(root / "images", ["a.jpg", "b.jpg"])
    value = {"version": "2.0", "item": {"name": "a.jpg"}, "annotations": []}
    write_json(root / "annotations" / "a.json", value)


def epithets(root):  # two species are called vulgaris
    names = [("Sturnus", "vulgaris"), ("Sciurus", "vulgaris"), ("Sturnus", "unicolor")]
    write_pictures(root, [f"{n}.jpg" for n in range(12)])
    rows = [[f"{n}.jpg", *names[n % 3]] for n in range(12)]
    write_table(root / "t.csv", ["file", "genus", "species"], rows)


def tags(root):
    values = ("clear primary", "clear primary road", "haze primary water", "cloudy")
    write_pictures(root, [f"{n}.jpg" for n in range(24)])
    write_table(root / "t.csv", ["image_name", "tags"], [[n, values[n % 4]] for n in range(24)])


def findings(root):  # most alone, some together
    values = ("Mass", "Nodule", "Hernia|Mass", "Edema|Hernia|Nodule")
    write_pictures(root, [f"{n}.png" for n in range(24)])
    rows = [[f"{n}.png", values[n % 4]] for n in range(24)]
    write_table(root / "t.csv", ["Image Index", "Finding Labels"], rows)


def svg(root):
    for name in ANIMALS:
        write_text(root / name / "1.svg", "<svg/>")


def netpbm(root):
    for name in ANIMALS:
        write_text(root / name / "1.ppm", "P3 1 1 255 0 0 0")
        write_table(root / name / "GT.csv", ["Filename", "ClassId"], [["1.ppm", 0]], ";")


def raw_photographs(root):
    for name in ANIMALS:
        write_text(root / name / "1.CR2", "II*")


def shards_without_suffix(root):
    for n in range(3):
        write_text(root / f"train-{n:05d}-of-00003", "x")


def one_pickle(root):
    root.mkdir()
    (root / "data_batch_1").write_bytes(pickle.dumps({"labels": [0, 1]}))


REFUSED = {
    cameras: r"'cam0', 'cam1', 'cam2'.*source: \{name: image_folder",
    nights: "2021-05-01",
    patients_in_sets: "patient00000.*columns filename, label and group",
    numbers_of_two_things: "patient_000_node_0.*columns filename, label and group",
    parts: "HAM10000_images_part_1 contains 8 pictures, which are not sorted by class",
    yolo: "data.yaml.*YOLO.*COCO",
    pascal_voc: "Pascal VOC.*COCO",
    sets_in_names: "bicycle_final",
    emnist: "train-images-idx3-ubyte",
    via: "VIA.*COCO",
    labelme: "LabelMe.*COCO",
    darwin: "Darwin.*COCO",
    epithets: "vulgaris.*pandas",
    tags: "'tags' has several labels",
    findings: "'Finding Labels' has several labels",
    svg: "1.svg' is an SVG drawing.*PNG",
    netpbm: "1.ppm' is a netpbm picture.*PNG",
    raw_photographs: "1.CR2' is a camera raw picture.*PNG",
    shards_without_suffix: "TFRecord.*parquet",
    one_pickle: "data_batch_1' is a pickle",
}
"""What is refused: a part of the sentence."""


# --- refused with a command -----------------------------------------------------------------------


def radiographs(root):  # images and masks in each class folder
    for name in ("COVID", "Normal", "Viral"):
        for kind in ("images", "masks"):
            write_pictures(root / name / kind, [f"{name}-{n}.png" for n in range(8)])


def ultrasound(root):  # masks next to their pictures
    for name in ("benign", "malignant", "normal"):
        numbered = [f"{name} ({n})" for n in range(8)]
        write_pictures(
            root / name, [f"{each}{end}.png" for each in numbered for end in ("", "_mask")]
        )


def masks_without_a_separator(root):
    for name in ("left", "right"):
        pictures = [f"{name}{n}" for n in range(8)]
        names = [f"{each}{end}.png" for each in pictures for end in ("", "gt")]
        write_pictures(root / name, [*names, *(f"length{n}.png" for n in range(2))])


def ultrasound_in_sets(root):
    for split in ("train", "test"):
        for name in ("benign", "malignant", "normal"):
            numbered = [f"{split}{n}" for n in range(8)]
            names = [f"{each}{end}.png" for each in numbered for end in ("", "_mask")]
            write_pictures(root / split / name, names)


def sets_inside_of_classes(root):
    for name in ANIMALS:
        for split, count in (("train", 8), ("test", 4)):
            write_pictures(root / name / split, [f"{n}.jpg" for n in range(count)])


def days_inside_of_classes(root):
    for name in ANIMALS:
        for day in range(10, 19):
            write_pictures(root / name / f"2021-06-{day}", ["1.jpg", "2.jpg"])


def sites_above_classes(root):
    for site in ("Harbour", "Cove", "Point"):
        write_classes(root / site, ANIMALS, 5)


def one_hot_in_sets(root):  # Roboflow: a blank after each comma
    for split, count in (("train", 30), ("valid", 9), ("test", 9)):
        names = [f"img{n}_jpg.rf.{split}.jpg" for n in range(count)]
        write_pictures(root / split, names)
        rows = [[name, *(f" {int(n % 3 == k)}" for k in range(3))] for n, name in enumerate(names)]
        write_table(root / split / "_classes.csv", ["filename", " bird", " cat", " dog"], rows)


def corners(root):
    write_pictures(root, [f"{n}.jpg" for n in range(20)])
    rows = [[f"{n % 20}.jpg", 9, 8, ANIMALS[n % 3], n // 20, 1, 6, 7] for n in range(40)]
    header = ["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"]
    write_table(root / "_annotations.csv", header, rows)


def write_exported(path, separator, rows) -> None:
    """Write a table as a spreadsheet of Western Europe does: in cp1252, with its own separator."""
    path.write_bytes("".join(separator.join(map(str, row)) + "\n" for row in rows).encode("cp1252"))


def one_hot_of_tabs(root):
    write_pictures(root, [f"{n}.jpg" for n in range(30)])
    rows = [[f"{n}.jpg", "Zoé", *(int(n % 3 == k) for k in range(3))] for n in range(30)]
    header = ["# made by hand\nfilename", "author", *ANIMALS]
    write_exported(root / "classes.tsv", "\t", [header, *rows])


def corners_of_semicolons(root):
    write_pictures(root, [f"{n}.jpg" for n in range(20)])
    rows = [[f"{n % 20}.jpg", ("Épi", "blé")[n % 2], n // 20, 1, 6, 7] for n in range(40)]
    header = ["filename", "class", "xmin", "ymin", "xmax", "ymax"]
    write_exported(root / "boxes.csv", ";", [header, *rows])


def labels_of_semicolons(root):  # names in one table, labels in another, and numbers with zeros
    write_pictures(root / "images", [f"{n:03d}.jpg" for n in range(27)])
    rows = [[f"{n:03d}.jpg", f"{n % 9:04d}"] for n in range(27)]
    write_exported(root / "files.csv", ";", [["filename", "plot_code"], *rows])
    rows = [[f"{n:04d}", ("Épi", "blé", "orge")[n % 3]] for n in range(9)]
    write_exported(root / "labels_of_plots.csv", ";", [["plot_code", "label"], *rows])


def timelapse_of_semicolons(root):
    rows = []
    for n in range(30):
        folder, name = f"Forêt{n % 6}", f"IMG_{n // 6:04d}.JPG"
        write_pictures(root / folder, [name])
        rows.append([name, folder, ANIMALS[n % 3]])
    write_exported(root / "data.csv", ";", [["File", "RelativePath", "Species"], *rows])


def label_studio(root):
    names = [f"{n:08x}-img_{n}.jpg" for n in range(30)]
    write_pictures(root / "media" / "upload" / "1", names)
    tasks = [
        {
            "id": n,
            "annotations": [{"result": [{"value": {"choices": [ANIMALS[n % 3]]}}]}],
            "data": {"image": f"/data/upload/1/{name}"},
        }
        for n, name in enumerate(names)
    ]
    write_json(root / "project-1.json", tasks)


def label_studio_table(root):  # with the paths of its server, called as the table with right ones
    names = [f"{n:08x}-img_{n}.jpg" for n in range(30)]
    write_pictures(root / "images", names)
    rows = [[f"/data/upload/1/{name}", n, ANIMALS[n % 3], 1, n] for n, name in enumerate(names)]
    header = ["image", "id", "choice", "annotator", "annotation_id"]
    write_table(root / "labels.csv", header, rows)


def timelapse(root):  # folder and name of a file in two columns; names repeat in each folder
    rows = []
    for n in range(30):
        folder, name = f"Site{n % 6}/100MEDIA", f"IMG_{n // 6:04d}.JPG"
        write_pictures(root / folder, [name])
        rows.append(["Photos", name, folder.replace("/", "\\"), ANIMALS[n % 3]])
    header = ["RootFolder", "File", "RelativePath", "Species"]
    write_table(root / "TimelapseData.csv", header, rows)


def cvat(root):
    write_pictures(root / "images", [f"{n}.jpg" for n in range(30)])
    images = [f'<image id="{n}" name="{n}.jpg"><tag label="{ANIMALS[n % 3]}"></tag></image>'
              for n in range(30)]  # fmt: skip
    write_text(root / "annotations.xml", f"<annotations>{''.join(images)}</annotations>")


def records(root):
    write_pictures(root / "imgs", [f"{n}.jpg" for n in range(30)])
    value = [{"filename": f"imgs/{n}.jpg", "label": f"00{n % 3}", "boxes": []} for n in range(30)]
    write_json(root / "annotations.json", value)


def record_lines(root):
    write_pictures(root / "imgs", [f"{n}.jpg" for n in range(30)])
    lines = [json.dumps({"image": f"imgs/{n}.jpg", "label": ANIMALS[n % 3]}) for n in range(30)]
    write_lines(root / "train.jsonl", lines)


def sets_in_json(root):  # CoOp
    value: dict[str, list] = {"train": [], "val": [], "test": []}
    for n in range(45):
        write_pictures(root / "images", [f"{n}.jpg"])
        split = ("train", "train", "train", "val", "test")[n % 5]
        value[split].append([f"{n}.jpg", n // 5 % 3, ANIMALS[n // 5 % 3]])
    write_json(root / "split_zhou_OxfordPets.json", value)


def paths_of_another_machine(root):
    write_pictures(root / "rois", [f"{n}.png" for n in range(30)])
    rows = [[f"/data/fgvc/rois/{n}.png", BEETLES[n % 3]] for n in range(30)]
    write_table(root / "annotations.csv", ["path", "label"], rows)


def folders_of_another_machine(root):  # CheXpert: all pictures have the same names
    rows = []
    for n in range(48):
        path = f"train/patient{n // 2:05d}/study{n % 2 + 1}/view1_frontal.jpg"
        write_pictures(root, [path])
        rows.append([f"CheXpert-v1.0-small/{path}", ANIMALS[n // 2 % 3], n // 2])
    write_table(root / "train.csv", ["Path", "label", "patient"], rows)


def set_in_front(root):  # Google AutoML
    write_pictures(root / "img", [f"{n}.jpg" for n in range(60)])
    sets = ("TRAINING", "TRAINING", "TRAINING", "VALIDATION", "TEST")
    lines = [f"{sets[n % 5]},gs://my-bucket/img/{n}.jpg,{ANIMALS[n // 5 % 3]}" for n in range(60)]
    write_lines(root / "all_data.csv", lines)


FOLLOWED = {
    set_in_front: ({"train": 36, "val": 12, "test": 12}, dict.fromkeys(ANIMALS, 20), 0),
    radiographs: ({}, {"COVID": 8, "Normal": 8, "Viral": 8}, 0),
    ultrasound: ({}, {"benign": 8, "malignant": 8, "normal": 8}, 0),
    masks_without_a_separator: ({}, {"left": 10, "right": 10}, 0),
    ultrasound_in_sets: (
        {"train": 24, "test": 24},
        {"benign": 16, "malignant": 16, "normal": 16},
        0,
    ),
    sets_inside_of_classes: ({"train": 24, "test": 12}, dict.fromkeys(ANIMALS, 12), 0),
    days_inside_of_classes: ({}, dict.fromkeys(ANIMALS, 18), 9),
    sites_above_classes: ({}, dict.fromkeys(ANIMALS, 15), 0),
    one_hot_in_sets: ({"train": 30, "val": 9, "test": 9}, dict.fromkeys(ANIMALS, 16), 0),
    corners: ({}, {"bird": 14, "cat": 13, "dog": 13}, 20),
    one_hot_of_tabs: ({}, dict.fromkeys(ANIMALS, 10), 0),
    corners_of_semicolons: ({}, {"Épi": 20, "blé": 20}, 20),
    labels_of_semicolons: ({}, {"Épi": 9, "blé": 9, "orge": 9}, 9),
    timelapse_of_semicolons: ({}, dict.fromkeys(ANIMALS, 10), 0),
    label_studio: ({}, dict.fromkeys(ANIMALS, 10), 0),
    label_studio_table: ({}, dict.fromkeys(ANIMALS, 10), 0),
    timelapse: ({}, dict.fromkeys(ANIMALS, 10), 0),
    cvat: ({}, dict.fromkeys(ANIMALS, 10), 0),
    records: ({}, {"000": 10, "001": 10, "002": 10}, 0),
    record_lines: ({}, dict.fromkeys(ANIMALS, 10), 0),
    sets_in_json: ({"train": 27, "val": 9, "test": 9}, dict.fromkeys(ANIMALS, 15), 0),
    folders_of_another_machine: ({}, dict.fromkeys(ANIMALS, 16), 24),
    paths_of_another_machine: ({}, dict.fromkeys(BEETLES, 10), 0),
}
"""What is read after the command in the refusal: sets, classes, and groups of several samples."""


# --- official lists next to class folders ---------------------------------------------------------


def cub_200(root):
    names = [f"{n % 3:03d}.Bird_{n % 3}/Bird_{n:04d}.jpg" for n in range(36)]
    write_pictures(root / "CUB_200_2011" / "images", names)
    write_lines(root / "CUB_200_2011" / "images.txt", [f"{n} {x}" for n, x in enumerate(names, 1)])
    write_lines(
        root / "CUB_200_2011" / "image_class_labels.txt", [f"{n} {n % 3}" for n in range(1, 37)]
    )
    write_lines(
        root / "CUB_200_2011" / "train_test_split.txt",
        [f"{n} {int(n <= 24)}" for n in range(1, 37)],
    )


def food_101(root):
    write_classes(root / "images", ("apple_pie", "baklava"), 18)
    names = [f"{name}/{n}" for name in ("apple_pie", "baklava") for n in range(18)]
    write_lines(root / "meta" / "train.txt", [names[n] for n in range(36) if n % 3])
    write_lines(root / "meta" / "test.txt", names[::3])
    write_lines(root / "meta" / "classes.txt", ["apple_pie", "baklava"])


def dtd(root):  # folds of official sets next to one list of all labels
    names = [f"{name}/{name}_{n:04d}.jpg" for name in ANIMALS for n in range(30)]
    write_pictures(root / "dtd" / "images", names)
    for fold in (1, 2):
        for n, split in enumerate(("train", "val", "test")):
            write_lines(root / "dtd" / "labels" / f"{split}{fold}.txt", names[(n + fold) % 3 :: 3])
    lines = [f"{name} {name.split('/')[0]} " for name in names]
    write_lines(root / "dtd" / "labels" / "labels_joint_anno.txt", lines)


OFFICIAL = {
    cub_200: {"train": 24, "test": 12},
    food_101: {"train": 24, "test": 12},
    dtd: {"train": 30, "val": 30, "test": 30},
}
"""The official sets after the command in the doubt."""
