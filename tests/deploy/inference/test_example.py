import io

import numpy as np

from medprior.deploy.inference.example import example_dicom
from medprior.dicom import read_radiograph
from medprior.phantom import render


def test_the_example_is_the_phantom():
    data = example_dicom(seed=3, side=128)
    assert data == example_dicom(seed=3, side=128)
    radiograph = read_radiograph(io.BytesIO(data))
    image = render(3, size=128)
    assert np.abs(radiograph.pixels - image.pixels).max() < 1 / 1000
    assert radiograph.view == image.facts["view"]
    assert radiograph.sex == image.facts["sex"]
