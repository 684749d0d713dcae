import io

import numpy as np

from medprior.deploy.inference.example import create_example_dicom
from medprior.dicom import read_radiograph
from medprior.phantom import render_phantom


def test_the_example_is_the_phantom():
    data = create_example_dicom(seed=3, side=128)
    assert data == create_example_dicom(seed=3, side=128)
    radiograph = read_radiograph(io.BytesIO(data))
    image = render_phantom(3, size=128)
    assert np.abs(radiograph.pixels - image.pixels).max() < 1 / 1000
    assert radiograph.view == image.facts["view"]
    assert radiograph.sex == image.facts["sex"]
